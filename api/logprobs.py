"""Log-probabilities as answers show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gristmill.runtime.events import TokenLogprob


def logprob_fields(entries: Sequence[TokenLogprob]) -> dict[str, Any]:
    """The key ``logprobs`` of an answer, left out where there are none."""
    return {"logprobs": [_entry(entry) for entry in entries]} if entries else {}


def _entry(entry: TokenLogprob) -> dict[str, Any]:
    shown: dict[str, Any] = {"token": entry.data.decode(errors="replace"), "logprob": entry.logprob}
    if entry.data:
        shown["bytes"] = list(entry.data)
    if entry.top:
        shown["top_logprobs"] = [_entry(top) for top in entry.top]
    return shown
