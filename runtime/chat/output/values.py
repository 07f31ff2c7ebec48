"""Argument values: JSON text, bare text of a declared type, and what may leave the service at all.

Nothing here evaluates text. What comes out can be written as JSON: finite numbers of at most 64 bits, no lone
surrogates, no deep nesting.
"""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec

MAX_DEPTH = 100
_INTEGER = re.compile(r"[+-]?[0-9]{1,400}\Z")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,400}\.?[0-9]{0,400}|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,4})?\Z")


class Broken(ValueError):
    """A text is not the call or value that it should be; the message says why, in a few words."""


def decode_json(text: str) -> Any:
    """The JSON value ``text``. Raises Broken."""
    try:
        return presentable(msgspec.json.decode(text))
    except RecursionError:
        raise Broken("nested too deep") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise Broken(str(error)) from None


def decode_object(text: str) -> dict[str, Any]:
    """The JSON object ``text``. Raises Broken."""
    value = decode_json(text)
    if not isinstance(value, dict):
        raise Broken("not a JSON object")
    return value


def presentable(value: Any, depth: int = MAX_DEPTH) -> Any:
    """``value`` (JSON-shaped) as any JSON writer takes it. Raises Broken where there is no such value."""
    if depth == 0:
        raise Broken("nested too deep")
    if isinstance(value, dict):
        return {presentable(key): presentable(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [presentable(item, depth - 1) for item in value]
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, int | float):
        return _finite(value)
    return value


def number(text: str) -> int | float | None:
    """The number that ``text`` writes in full, None for anything else."""
    if _INTEGER.match(text):
        return _number_or_none(int(text))
    return _number_or_none(float(text)) if _NUMBER.match(text) else None


def convert(text: str, types: tuple[str, ...]) -> Any:
    """``text`` as the first of the declared JSON types that it fits, as text if none; null always fits."""
    if text.lower() == "null":
        return None
    if "boolean" in types:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        if types == ("boolean",):
            return False
    if "integer" in types and _INTEGER.match(text) and (whole := number(text)) is not None:
        return whole
    if "number" in types and (any_number := number(text)) is not None:
        return int(any_number) if any_number == int(any_number) and abs(any_number) < 2**63 else any_number
    return _structure(text, types)


def _structure(text: str, types: tuple[str, ...]) -> Any:
    wanted = tuple(kind for name, kind in (("array", list), ("object", dict)) if name in types)
    if wanted:
        try:
            value = decode_json(text)
        except Broken:
            return text
        if isinstance(value, wanted):
            return value
    return text


def without_newlines(text: str) -> str:
    """``text`` without one newline at its beginning and one at its end, which belong to the tags around it."""
    return text.removeprefix("\n").removesuffix("\n")


def _number_or_none(value: float) -> int | float | None:
    try:
        return _finite(value)
    except Broken:
        return None


def _finite(value: float) -> int | float:
    """``value`` with at most 64 bits; booleans are left alone. Raises Broken for what is not finite."""
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        try:
            value = float(value)
        except OverflowError:
            raise Broken("a number is out of range") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise Broken("a number is out of range")
    return value
