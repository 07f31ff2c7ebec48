"""The functions a template can call: Go's builtin ones, and Ollama's ``json``, dates and TypeScript types.

To add one, write it here and give it a row in ``FUNCTIONS``. ``and``, ``or`` and ``call`` are the evaluator's, for
they need to see their arguments before these have values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from ...tokenizer.guard import GUARD
from .escaping import html, js, urlquery
from .formatting import print_line, print_values, printf
from .json_text import json_pieces
from .values import Record, Value, ValueFault, equal, kind, less, truth, type_name

_TYPESCRIPT = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "array": "any[]",
    "object": "Record<string, any>",
    "null": "null",
}


@dataclass(frozen=True)
class GoFunction:
    """``run`` gives a value, or pieces of a text, and raises ValueFault. ``at_most`` is None for any number."""

    run: Callable[..., Value]
    at_least: int = 0
    at_most: int | None = None


def _eq(first: Value, *others: Value) -> bool:
    if not others:
        raise ValueFault("missing argument for comparison")
    return any(equal(first, other) for other in others)


def _le(left: Value, right: Value) -> bool:
    return less(left, right) or equal(left, right)


def _len(value: Value) -> int:
    if value is None:
        raise ValueFault("len of nil pointer")
    if isinstance(value, str):
        return len(_bytes(value.replace(GUARD, "")))
    if isinstance(value, list | dict):
        return len(value)
    raise ValueFault(f"len of type {type_name(value)}")


def _index(item: Value, *keys: Value) -> Value:
    if item is None:
        raise ValueFault("index of untyped nil")
    for key in keys:
        item = _element(item, key)
    return item


def _element(item: Value, key: Value) -> Value:
    if item is None:
        raise ValueFault("index of untyped nil")
    if isinstance(item, dict):
        if not isinstance(key, str):
            raise ValueFault(f"value has type {type_name(key)}; should be string")
        return item.get(key)
    if isinstance(item, str):
        item = _bytes(item)
    elif not isinstance(item, list):
        raise ValueFault(f"can't index item of type {type_name(item)}")
    return item[_position(key, len(item) - 1)]


def _slice(item: Value, *edges: Value) -> Value:
    if item is None:
        raise ValueFault("slice of untyped nil")
    if len(edges) > 3:
        raise ValueFault(f"too many slice indexes: {len(edges)}")
    if not isinstance(item, list | str):
        raise ValueFault(f"can't slice item of type {type_name(item)}")
    if isinstance(item, str) and len(edges) == 3:
        raise ValueFault("cannot 3-index slice a string")
    items = _bytes(item) if isinstance(item, str) else item
    at = [_position(edge, len(items)) for edge in edges]
    for low, high in pairwise(at):
        if low > high:
            raise ValueFault(f"invalid slice index: {low} > {high}")
    part = items[at[0] if at else 0 : at[1] if len(at) > 1 else len(items)]
    return part.decode("utf-8", "surrogateescape") if isinstance(part, bytes) else part


def _position(index: Value, last: int) -> int:
    if kind(index) != "int":
        what = "nil" if index is None else f"type {type_name(index)}"
        raise ValueFault(f"cannot index slice/array with {what}")
    if not 0 <= index <= last:
        raise ValueFault(f"index out of range: {index}")
    return int(index)


def _printf(template: Value, *values: Value) -> Iterator[str]:
    if not isinstance(template, str):
        raise ValueFault(f"wrong type for value; expected string; got {type_name(template)}")
    return printf(template, values)


def _escaped(escape: Callable[[str], str]) -> Callable[..., str]:
    def run(*values: Value) -> str:
        return escape("".join(print_values(["<no value>" if value is None else value for value in values])))

    return run


def _current_date(*_: Value) -> str:
    return f"{datetime.now():%Y-%m-%d}"


def _yesterday_date(*_: Value) -> str:
    return f"{datetime.now() - timedelta(days=1):%Y-%m-%d}"


def _typescript(prop: Value) -> str:
    fields = prop.fields if isinstance(prop, Record) else prop
    if not isinstance(fields, Mapping):
        return "any"
    options = fields.get("AnyOf") or fields.get("anyOf")
    if isinstance(options, list) and options:
        return " | ".join(_typescript(option) for option in options)
    types = fields.get("Type") or fields.get("type") or []
    names = types if isinstance(types, list) else [types]
    return " | ".join(_TYPESCRIPT.get(name, "any") for name in names if isinstance(name, str)) or "any"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


FUNCTIONS: Mapping[str, GoFunction] = {
    "and": GoFunction(lambda *_: None, 1),
    "or": GoFunction(lambda *_: None, 1),
    "call": GoFunction(lambda *_: None, 1),
    "not": GoFunction(lambda value: not truth(value), 1, 1),
    "eq": GoFunction(_eq, 1),
    "ne": GoFunction(lambda left, right: not equal(left, right), 2, 2),
    "lt": GoFunction(less, 2, 2),
    "le": GoFunction(_le, 2, 2),
    "gt": GoFunction(lambda left, right: not _le(left, right), 2, 2),
    "ge": GoFunction(lambda left, right: not less(left, right), 2, 2),
    "len": GoFunction(_len, 1, 1),
    "index": GoFunction(_index, 1),
    "slice": GoFunction(_slice, 1),
    "print": GoFunction(lambda *values: print_values(values)),
    "println": GoFunction(lambda *values: print_line(values)),
    "printf": GoFunction(_printf, 1),
    "html": GoFunction(_escaped(html)),
    "js": GoFunction(_escaped(js)),
    "urlquery": GoFunction(_escaped(urlquery)),
    "json": GoFunction(json_pieces, 1, 1),
    "currentDate": GoFunction(_current_date),
    "yesterdayDate": GoFunction(_yesterday_date),
    "toTypeScriptType": GoFunction(_typescript, 1, 1),
}
