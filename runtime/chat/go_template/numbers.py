"""Numbers and quoted text as Go's fmt and strconv write them. Knows no format string: ``formatting`` reads those."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from ...tokenizer.guard import GUARD
from .values import ValueFault

# Python's letter for the base, and what the flag # puts in front.
_BASES = {"b": ("b", "0b"), "d": ("d", ""), "o": ("o", ""), "O": ("o", "0o"), "x": ("x", "0x"), "X": ("X", "0X")}
_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\"}


@dataclass(frozen=True)
class Spec:
    """One conversion: ``%-08.3f`` is Spec("f", "-0", 8, 3), and ``%#v`` Spec(go_syntax=True)."""

    verb: str = "v"
    flags: str = ""
    width: int = 0
    precision: int | None = None
    go_syntax: bool = False

    @property
    def quote(self) -> bool:
        return self.verb == "q" or self.go_syntax

    def pad(self, text: str) -> str:
        """``text`` in the field's width, spaces before it; after it with the flag ``-``, zeros with ``0``."""
        if "-" in self.flags:
            return text.ljust(self.width)
        return text.rjust(self.width, "0" if "0" in self.flags else " ")

    def pad_number(self, sign: str, digits: str) -> str:
        """As ``pad``, zeros between sign and digits."""
        if "0" in self.flags and "-" not in self.flags:
            return sign + digits.rjust(self.width - len(sign), "0")
        return self.without_zeros().pad(sign + digits)

    def without_zeros(self) -> Spec:
        return replace(self, flags=self.flags.replace("0", ""))

    def sign(self, negative: bool) -> str:
        if negative:
            return "-"
        return "+" if "+" in self.flags else " " if " " in self.flags else ""


def integer(spec: Spec, value: int) -> str | None:
    """None where the verb is not for integers."""
    if spec.verb == "c":
        return spec.pad(_character(value))
    if spec.verb == "q":
        return spec.pad(quoted(_character(value), quote="'", ascii_only="+" in spec.flags))
    if spec.verb == "U":
        named = f"U+{value % (1 << 64):0{max(4, spec.precision or 0)}X}"
        shown = "#" in spec.flags and 0 <= value <= 0x10FFFF and chr(value).isprintable()
        return spec.without_zeros().pad(f"{named} '{chr(value)}'" if shown else named)
    base = _BASES.get("d" if spec.verb == "v" else spec.verb)
    if base is None:
        return None
    sign, digits = spec.sign(value < 0), format(abs(value), base[0])
    prefix = base[1] if "#" in spec.flags or spec.verb == "O" else ""
    if spec.precision == 0 and value == 0:
        return " " * spec.width
    if spec.precision is not None:
        digits = digits.rjust(spec.precision, "0")
    elif "0" in spec.flags and "-" not in spec.flags:  # the prefix comes on top of the width
        digits = digits.rjust(spec.width - len(sign), "0")
    if base[0] == "o" and "#" in spec.flags and not digits.startswith("0"):
        digits = "0" + digits
    return spec.without_zeros().pad(sign + prefix + digits)


def floating(spec: Spec, value: float) -> str | None:
    """None where the verb is not for floats. Raises ValueFault for the binary forms that we do not know."""
    verb = "g" if spec.verb == "v" else spec.verb
    sign = spec.sign(value < 0 or (value == 0 and str(value).startswith("-")))
    if verb in "bxX":
        return spec.pad_number(*_hexadecimal_float(spec, abs(value), sign))
    if verb not in "eEfFgG":
        return None
    if value != value or value in (float("inf"), float("-inf")):  # from no JSON and no literal: kept total
        return spec.without_zeros().pad_number(sign, "NaN" if value != value else "Inf")
    return spec.pad_number(sign, _digits(spec, verb, abs(value)))


def _digits(spec: Spec, verb: str, value: float) -> str:
    if verb not in "gG" or spec.precision is not None:
        precision = 6 if spec.precision is None else spec.precision
        return format(value, f"{'#' if '#' in spec.flags else ''}.{precision}{verb}")
    digits = shortest(value)
    if "#" in spec.flags:  # at least six digits
        mantissa, e, exponent = digits.partition("e")
        n_digits = len(mantissa.replace(".", "").lstrip("0"))
        digits = mantissa + ("." if "." not in mantissa else "") + "0" * (6 - n_digits) + e + exponent
    return digits.upper() if verb == "G" else digits


def _hexadecimal_float(spec: Spec, value: float, sign: str) -> tuple[str, str]:
    """Sign with prefix, and digits."""
    if spec.verb == "b" or spec.precision is not None or "#" in spec.flags:
        raise ValueFault(f"%{spec.verb} of a float64 with these flags is not supported")
    mantissa, _, exponent = value.hex().removeprefix("0x").partition("p")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    text = f"{mantissa}p{int(exponent):+03d}"
    return (sign + "0X", text.upper()) if spec.verb == "X" else (sign + "0x", text)


def shortest(value: float) -> str:
    """A number that is not negative, in as few digits as tell it from all others, as strconv's format 'g' does it.

    With an exponent where that is below -4 or above 5.
    """
    _, digit_tuple, exponent = Decimal(repr(value)).as_tuple()
    assert isinstance(exponent, int)
    digits = "".join(map(str, digit_tuple))
    power = len(digits.lstrip("0")) + exponent - 1
    if value == 0 or -4 <= power <= 5:
        return format(Decimal(repr(value)), "f").removesuffix(".0")
    digits = digits.strip("0")
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{fraction}e{power:+03d}"


def quoted(text: str, quote: str = '"', ascii_only: bool = False) -> str:
    """``text`` in Go's quotes. The guard's marks stay as they are."""
    return quote + "".join(_quoted_char(char, quote, ascii_only) for char in text) + quote


def hexadecimal(spec: Spec, text: str) -> str:
    """The UTF-8 of ``text`` as %x writes it."""
    data = text.encode("utf-8", "surrogateescape")[: spec.precision]
    digits = data.hex(" ") if " " in spec.flags else data.hex()
    if "#" in spec.flags and data:
        digits = "0x" + digits.replace(" ", " 0x")
    return digits.upper() if spec.verb == "X" else digits


def _quoted_char(char: str, quote: str, ascii_only: bool) -> str:
    if char == quote:
        return "\\" + char
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char == GUARD or (char.isprintable() and (char.isascii() or not ascii_only)):
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 32 or code == 127 else f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"


def _character(value: int) -> str:
    valid = 0 <= value <= 0x10FFFF and not 0xD800 <= value < 0xE000
    return chr(value) if valid else "\ufffd"
