"""Numbers, characters and strings as Go writes them, to Python values. Bytes that are no UTF-8 become surrogates."""

from __future__ import annotations

import re

_SIMPLE = dict(zip("abfnrtv\\'\"", b"\a\b\f\n\r\t\v\\'\"", strict=True))
_ESCAPE = re.compile(
    r"\\(?:x(?P<byte>[0-9a-fA-F]{2})|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})"
    r"|(?P<octal>[0-7]{3})|(?P<simple>.))|[^\\]+",
    re.DOTALL,
)


def number(text: str) -> int | float:
    """Raises ValueError with Go's message. An integer that is written as a float (``1e3``) is a float."""
    value = _float(text) if re.search("[.eEpP]", text) and not re.match("[+-]?0[xX][^.pP]*$", text) else _int(text)
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f"{text} overflows int" if 0 <= value < 1 << 64 else f'integer overflow: "{text}"')
    return value


def character(text: str) -> int:
    """The code point of ``'a'``. Raises ValueError."""
    try:
        inner = unquote_inner(text[1:-1], "'")
    except ValueError:
        inner = ""
    if len(inner) != 1:
        raise ValueError(f"malformed character constant: {text}")
    return ord(inner)


def string(text: str) -> str:
    """The value of a quoted or raw string, its quotes included. Raises ValueError."""
    if text[0] == "`":
        return text[1:-1].replace("\r", "")
    return unquote_inner(text[1:-1], '"')


def unquote_inner(text: str, quote: str) -> str:
    """``text`` without its escapes. Raises ValueError for an unknown one, and for the other kind of quote escaped."""
    if "\\" not in text:
        return text
    out = bytearray()
    for match in _ESCAPE.finditer(text):
        out += _unescaped(match, quote)
    return out.decode("utf-8", "surrogateescape")


def _unescaped(match: re.Match[str], quote: str) -> bytes:
    kind, digits = match.lastgroup, match[match.lastgroup or 0]
    if kind is None:
        return digits.encode()
    if kind == "simple":
        if digits not in _SIMPLE or (digits in "'\"" and digits != quote):
            raise ValueError("invalid syntax")
        return bytes([_SIMPLE[digits]])
    value = int(digits, 8 if kind == "octal" else 16)
    if kind in ("byte", "octal"):
        if value > 255:
            raise ValueError("invalid syntax")
        return bytes([value])
    if value > 0x10FFFF or 0xD800 <= value < 0xE000:
        raise ValueError("invalid syntax")
    return chr(value).encode()


def _int(text: str) -> int:
    digits = text.lstrip("+-")
    try:
        if re.fullmatch("0[0-7_]+", digits):  # as in C
            return int(text.replace("_", ""), 8)
        return int(text, 0)
    except ValueError:
        raise ValueError(f'illegal number syntax: "{text}"') from None


def _float(text: str) -> float:
    try:
        value = float.fromhex(text) if re.match("[+-]?0[xX]", text) else float(text)
    except (ValueError, OverflowError):
        raise ValueError(f'illegal number syntax: "{text}"') from None
    if value in (float("inf"), float("-inf")):
        raise ValueError(f'illegal number syntax: "{text}"')
    return value
