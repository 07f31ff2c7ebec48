"""The values of a template, and what Go says of them: kinds, truth, comparison.

    nil      None                            int      int
    bool     bool                            float64  float; all numbers of JSON are
    string   str; bytes that are no UTF-8 are surrogates
    []any    list                            map      dict with string keys
    struct   Record

A ``Record``, ``JsonList`` and ``JsonMap`` print as JSON, as Ollama's own types do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Value: TypeAlias = Any

# Up to here every whole number is a float64. Larger ones stay exact, where Go would round them.
_EXACT = 1 << 53


class ValueFault(Exception):
    """A value that a function cannot take; the message is Go's."""


@dataclass(frozen=True, eq=False)
class Record:
    """A struct: ``fields`` by their Go names, and ``json``, the same thing as JSON prints it, keys in this order."""

    kind: str
    fields: Mapping[str, Value]
    json: Mapping[str, Value]


class JsonList(list[Value]):
    """A list that prints as JSON."""


class JsonMap(dict[str, Value]):
    """A map that prints as JSON."""


class TypeNames(list[str]):
    """The types of a tool's property. One prints, and is in JSON, without brackets."""


def from_json(value: Value, map_type: type[dict[str, Value]] = dict, list_type: type[list[Value]] = list) -> Value:
    """A decoded JSON value as Go's ``any`` holds it: its numbers are float64."""
    if isinstance(value, dict):
        return map_type((key, from_json(item, map_type, list_type)) for key, item in value.items())
    if isinstance(value, list):
        return list_type(from_json(item, map_type, list_type) for item in value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _EXACT:
        return float(value)
    return value


def kind(value: Value) -> str:
    """What comparison distinguishes."""
    match value:
        case None:
            return "nil"
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float"
        case str():
            return "string"
        case list():
            return "list"
        case dict():
            return "map"
    return "struct"


def type_name(value: Value) -> str:
    """As Go's %T."""
    names = {
        "nil": "<nil>",
        "float": "float64",
        "list": "[]interface {}",
        "map": "map[string]interface {}",
    }
    return value.kind if isinstance(value, Record) else names.get(kind(value), kind(value))


def truth(value: Value) -> bool:
    """False for nil, false, 0 and what is empty."""
    return True if isinstance(value, Record) else bool(value)


def equal(left: Value, right: Value) -> bool:
    """``eq`` of two values. Raises ValueFault for types that do not compare."""
    kinds = (kind(left), kind(right))
    if "nil" in kinds:
        return kinds == ("nil", "nil")
    if kinds[0] != kinds[1]:
        raise _incompatible(left, right)
    if kinds[0] in ("list", "map", "struct"):
        raise ValueFault(f"non-comparable type {type_name(left)}")
    return bool(left == right)


def less(left: Value, right: Value) -> bool:
    """``lt`` of two values. Raises ValueFault for types that have no order."""
    for value in (left, right):
        if kind(value) not in ("bool", "int", "float", "string"):
            raise ValueFault("invalid type for comparison")
    if kind(left) != kind(right):
        raise _incompatible(left, right)
    if kind(left) == "bool":
        raise ValueFault("invalid type for comparison")
    return bool(left < right)  # of texts: the order of code points is that of their UTF-8


def _incompatible(left: Value, right: Value) -> ValueFault:
    return ValueFault(f"incompatible types for comparison: {type_name(left)} and {type_name(right)}")
