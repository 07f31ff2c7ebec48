"""Values of flags that are more than a text: ``--think``, ``--format``, ``--truncate``. Sends nothing."""

from __future__ import annotations

import json
from typing import Any

from gristmill.runtime.errors import GristmillError, cut

THINK_LEVELS = ("high", "medium", "low", "max")
_BOOLEANS = {"true": True, "false": False}


def parse_think(text: str) -> bool | str:
    """``true``, ``false`` or a level. Raises GristmillError."""
    if text in THINK_LEVELS:
        return text
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    choices = "true, false, high, medium, low, or max"
    raise GristmillError(f"invalid value for --think: {cut(text)} (must be {choices})")


def parse_format(text: str) -> str | dict[str, Any]:
    """``json``, a JSON schema, or nothing. Raises GristmillError."""
    if text in ("", "json"):
        return text
    try:
        schema = json.loads(text)
    except ValueError:
        schema = None
    if not isinstance(schema, dict):
        raise GristmillError(f"invalid value for --format: {cut(text)} (must be json or the text of a JSON schema)")
    return schema


def parse_truncate(text: str) -> bool:
    """Raises GristmillError."""
    if text not in _BOOLEANS:
        raise GristmillError(f"invalid value for --truncate: {cut(text)} (must be true or false)")
    return _BOOLEANS[text]
