"""``print``, ``println`` and ``printf`` of Go's fmt. All yield pieces, so that the caller can stop at a limit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from .json_text import json_pieces
from .numbers import Spec, floating, hexadecimal, integer, quoted
from .values import JsonList, JsonMap, Record, TypeNames, Value, ValueFault, kind, type_name

MAX_WIDTH = 10_000  # of a field, and of a number's precision

PLAIN = Spec()

_CONVERSION = re.compile(
    r"%(?P<flags>[+\-# 0]*)(?P<first_at>\[[^\]]*\])?(?:(?P<star>\*)|(?P<width>\d+))?"
    r"(?P<point>\.(?:(?P<precision_at>\[[^\]]*\])?(?P<precision_star>\*)|(?P<precision>\d*)))?"
    r"(?P<at>\[[^\]]*\])?(?P<verb>.)?",
    re.DOTALL,
)


def print_values(values: Sequence[Value]) -> Iterator[str]:
    """Spaces go between two neighbours of which neither is a string."""
    for i, value in enumerate(values):
        if i and not isinstance(value, str) and not isinstance(values[i - 1], str):
            yield " "
        yield from formatted(PLAIN, value)


def print_line(values: Sequence[Value]) -> Iterator[str]:
    for i, value in enumerate(values):
        yield " " if i else ""
        yield from formatted(PLAIN, value)
    yield "\n"


def printf(template: str, values: Sequence[Value]) -> Iterator[str]:
    """Raises ValueFault for a width over MAX_WIDTH. Other faults show in the text, as in Go: ``%!d(string=x)``."""
    args = _Arguments(values)
    end = 0
    for match in _CONVERSION.finditer(template):
        yield template[end : match.start()]
        end = match.end()
        yield from _converted(match, args)
    yield template[end:]
    yield from args.unused()


def formatted(spec: Spec, value: Value) -> Iterator[str]:
    """``value`` by one conversion."""
    if spec.verb == "p":
        raise ValueFault("%p is not supported: there are no addresses")
    if spec.verb == "T" and value is not None:
        yield _text(replace(spec, verb="s"), type_name(value))
    elif isinstance(value, Record | JsonList | JsonMap) and spec.verb in "vsqxX":
        yield _text(replace(spec, go_syntax=False), "".join(json_pieces(value)))
    elif isinstance(value, TypeNames) and len(value) == 1:
        yield from formatted(spec, value[0])
    elif isinstance(value, list):
        yield from _bracketed(spec, "[]interface {}", "[", [[item] for item in value], "]")
    elif isinstance(value, dict):
        yield from _bracketed(spec, "map[string]interface {}", "map[", sorted(map(list, value.items())), "]")
    else:
        text = _scalar(spec, value)
        yield _bad_verb(spec, value) if text is None else text


class _Arguments:
    """What a format has taken of its values."""

    def __init__(self, values: Sequence[Value]):
        self._values = values
        self._next = 0
        self._reordered = False
        self.index_is_good = True

    def move(self, index: str | None) -> None:
        """To an explicit index like ``[2]``; stays where there is no such value."""
        if index is None:
            return
        self._reordered = True
        number = int(index[1:-1]) if re.fullmatch(r"\[[0-9]{1,9}\]", index) else 0
        if 1 <= number <= len(self._values):
            self._next = number - 1
        else:
            self.index_is_good = False

    def take(self) -> list[Value]:
        """The next value in a list, which is empty where there is none."""
        taken = list(self._values[self._next : self._next + 1])
        self._next += 1
        return taken

    def unused(self) -> Iterator[str]:
        rest = self._values[self._next :]
        if not rest or self._reordered:
            return
        for i, value in enumerate(rest):
            yield ", " if i else "%!(EXTRA "
            yield type_name(value) if value is None else f"{type_name(value)}="
            yield from formatted(PLAIN, value) if value is not None else ()
        yield ")"


def _converted(match: re.Match[str], args: _Arguments) -> Iterator[str]:
    verb = match["verb"]
    args.index_is_good = True
    args.move(match["first_at"])
    width, flags, fault = _width(match, args)
    precision, precision_fault = _precision(match, args)
    args.move(match["at"])
    yield fault + precision_fault
    # An index stands before a star or before the verb.
    misplaced = match["first_at"] and (match["width"] or (match["point"] and not match["star"]))
    if verb is None:
        yield "%!(NOVERB)"
    elif verb == "%":
        yield "%"
    elif misplaced or not args.index_is_good:
        yield f"%!{verb}(BADINDEX)"
    elif not (taken := args.take()):
        yield f"%!{verb}(MISSING)"
    else:
        yield from formatted(_spec(verb, flags, width, precision), taken[0])


def _spec(verb: str, flags: str, width: int, precision: int | None) -> Spec:
    if verb != "v":
        return Spec(verb, flags, width, precision)
    return Spec(verb, flags.replace("#", "").replace("+", ""), width, precision, go_syntax="#" in flags)


def _width(match: re.Match[str], args: _Arguments) -> tuple[int, str, str]:
    """Width, flags (a negative width from an argument adds one) and what is wrong with it."""
    flags = match["flags"]
    if not match["star"]:
        return _checked(match["width"] or "0"), flags, ""
    taken = args.take()
    if not taken or kind(taken[0]) != "int":
        return 0, flags, "%!(BADWIDTH)"
    width = taken[0]
    return _checked(abs(width)), flags + "-" if width < 0 else flags, ""


def _precision(match: re.Match[str], args: _Arguments) -> tuple[int | None, str]:
    if not match["precision_star"]:
        return _checked(match["precision"] or "0") if match["point"] else None, ""
    args.move(match["precision_at"])
    taken = args.take()
    if not taken or kind(taken[0]) != "int" or taken[0] < 0:
        return None, "%!(BADPREC)"
    return _checked(taken[0]), ""


def _checked(size: str | int) -> int:
    if len(str(size)) > 9 or int(size) > MAX_WIDTH:
        raise ValueFault(f"a width or precision is over the limit of {MAX_WIDTH}")
    return int(size)


def _scalar(spec: Spec, value: Value) -> str | None:
    """A value that holds no others. None where the verb is not for it."""
    match value:
        case None:
            return spec.pad("<nil>") if spec.verb in "Tv" else None
        case bool():
            return spec.pad("true" if value else "false") if spec.verb in "tv" else None
        case int():
            return integer(spec, value)
        case float():
            return floating(spec, value)
        case str():
            return _text(spec, value) if spec.verb in "vsqxX" else None
    return None


def _text(spec: Spec, text: str) -> str:
    if spec.verb in "xX":
        return spec.pad(hexadecimal(spec, text))
    if spec.precision is not None:
        text = text[: spec.precision]
    if spec.quote:
        if spec.verb == "q" and "#" in spec.flags and "`" not in text and text.isprintable():
            return spec.pad(f"`{text}`")
        text = quoted(text, ascii_only=spec.verb == "q" and "+" in spec.flags)
    return spec.pad(text)


def _bracketed(spec: Spec, go_type: str, opening: str, items: list[list[Value]], closing: str) -> Iterator[str]:
    """Items are values, or keys and values."""
    if spec.go_syntax:
        opening, closing = go_type + "{", "}"
    nil = "interface {}(nil)" if spec.go_syntax else "<nil>"
    yield opening
    for i, item in enumerate(items):
        yield (", " if spec.go_syntax else " ") if i else ""
        for j, part in enumerate(item):
            yield ":" if j else ""
            yield from formatted(spec, part) if part is not None else (nil,)
    yield closing


def _bad_verb(spec: Spec, value: Value) -> str:
    if value is None:
        return f"%!{spec.verb}(<nil>)"
    return f"%!{spec.verb}({type_name(value)}={''.join(formatted(replace(spec, verb='v'), value))})"
