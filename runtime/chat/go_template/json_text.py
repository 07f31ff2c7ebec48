"""Values as Go's encoding/json writes them: compact, map keys sorted, ``< > &`` escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal

from .values import Record, TypeNames, Value, ValueFault

_ESCAPED = re.compile('[\x00-\x1f"\\\\<>&\u2028\u2029\ud800-\udfff]')
_SHORT = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}


def json_pieces(value: Value) -> Iterator[str]:
    """The JSON of ``value``, piece by piece, so that the caller can stop at a limit."""
    if isinstance(value, TypeNames) and len(value) == 1:
        value = value[0]
    if isinstance(value, Record):
        yield from _object(value.json.items())
    elif isinstance(value, dict):
        yield from _object(sorted(value.items()))
    elif isinstance(value, list):
        yield "["
        for i, item in enumerate(value):
            yield "," if i else ""
            yield from json_pieces(item)
        yield "]"
    else:
        yield _scalar(value)


def _object(items: Iterable[tuple[str, Value]]) -> Iterator[str]:
    yield "{"
    for i, (key, value) in enumerate(items):
        yield "," if i else ""
        yield _string(key) + ":"
        yield from json_pieces(value)
    yield "}"


def _scalar(value: Value) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    return _float(value) if isinstance(value, float) else str(value)


def _string(text: str) -> str:
    return '"' + _ESCAPED.sub(_escape, text) + '"'


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    if "\ud800" <= char <= "\udfff":  # a byte that is no UTF-8
        return "\\ufffd"
    return _SHORT.get(char) or f"\\u{ord(char):04x}"


def _float(value: float) -> str:
    """Digits only, except for very small and very large numbers: ECMAScript's rule."""
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueFault(f"json: unsupported value: {value}")
    if value == 0 or 1e-6 <= abs(value) < 1e21:
        text = format(Decimal(repr(value)), "f")
        return text.removesuffix(".0")
    digits, exponent = repr(value).split("e")
    return f"{digits.removesuffix('.0')}e{int(exponent):+d}"
