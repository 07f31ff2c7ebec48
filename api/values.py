"""Values of requests that may have several forms, read leniently; what a form means is for the caller to say."""

from __future__ import annotations

from typing import Any

__all__ = ["text_or_empty", "texts_or_ids"]

_MAX_ID = 1 << 31


def text_or_empty(value: Any) -> str:
    """A text as it is; what is none counts as not given."""
    return value if isinstance(value, str) else ""


def texts_or_ids(given: Any) -> list[str] | list[list[int]] | None:
    """A text, texts, token ids or lists of token ids, as a list; None for anything else."""
    values = [given] if isinstance(given, str) or _is_ids(given) else given
    if not isinstance(values, list):
        return None
    is_known = all(isinstance(value, str) for value in values) or all(map(_is_ids, values))
    return values if is_known else None


def _is_ids(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(item) is int and 0 <= item < _MAX_ID for item in value)
