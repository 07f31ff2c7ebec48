"""What Go templates are given: messages and tools of the native API under their Go names.

Runs where templates run. Whatever does not have the type it should have is left out, so that a template never meets it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from .go_template.values import JsonList, JsonMap, Record, TypeNames, Value, from_json

T = TypeVar("T")
Json = Mapping[str, Any]

# ``think: true`` of a model that knows levels.
_DEFAULT_LEVEL = "medium"


def think_values(think: bool | str | None) -> dict[str, Value]:
    """``.Think``, ``.ThinkLevel`` and ``.IsThinkSet``."""
    level = think if isinstance(think, str) else _DEFAULT_LEVEL if think else ""
    return {"Think": bool(think), "ThinkLevel": level, "IsThinkSet": think is not None}


def message_record(message: Json) -> Record:
    """One message; its ``Role`` and the other fields, see docs/templates.md."""
    calls = JsonList(_call_record(call) for call in _get(message, "tool_calls", list) if isinstance(call, Mapping))
    named: dict[str, tuple[str, Value]] = {
        "Role": ("role", _get(message, "role", str)),
        "Content": ("content", _get(message, "content", str)),
        "Thinking": ("thinking", _get(message, "thinking", str)),
        "Images": ("images", _strings(message, "images")),
        "ToolCalls": ("tool_calls", calls),
        "ToolName": ("tool_name", _get(message, "tool_name", str)),
        "ToolCallID": ("tool_call_id", _get(message, "tool_call_id", str)),
    }
    return _record("Message", named, always=("role", "content"))


def tool_list(tools: Sequence[Json]) -> JsonList | None:
    """``.Tools``; nil where there are none."""
    return JsonList(_tool_record(tool) for tool in tools) or None


def _call_record(call: Json) -> Record:
    function = _get(call, "function", dict)
    arguments = function.get("arguments")
    named: dict[str, tuple[str, Value]] = {
        "Index": ("index", _get(function, "index", int)),
        "Name": ("name", _get(function, "name", str)),
        "Arguments": ("arguments", arguments if isinstance(arguments, str) else _free(arguments or {})),
    }
    inner = _record("ToolCallFunction", named, always=("name", "arguments"))
    return _record("ToolCall", {"ID": ("id", _get(call, "id", str)), "Function": ("function", inner)})


def _tool_record(tool: Json) -> Record:
    function = _get(tool, "function", dict)
    named: dict[str, tuple[str, Value]] = {
        "Name": ("name", _get(function, "name", str)),
        "Description": ("description", _get(function, "description", str)),
        "Parameters": ("parameters", _parameters_record(_get(function, "parameters", dict))),
    }
    inner = _record("ToolFunction", named, always=("name", "description"))
    return _record(
        "Tool",
        {
            "Type": ("type", _get(tool, "type", str) or "function"),
            "Items": ("items", _free(tool.get("items"))),
            "Function": ("function", inner),
        },
    )


def _parameters_record(parameters: Json) -> Record:
    named: dict[str, tuple[str, Value]] = {
        "Type": ("type", _get(parameters, "type", str) or "object"),
        "Defs": ("$defs", _free(parameters.get("$defs"))),
        "Items": ("items", _free(parameters.get("items"))),
        "Required": ("required", _strings(parameters, "required")),
        "Properties": ("properties", _properties(parameters)),
    }
    return _record("ToolFunctionParameters", named, always=("type", "properties"))


def _property_record(prop: Json) -> Record:
    options = [option for option in _get(prop, "anyOf", list) if isinstance(option, Mapping)]
    types = TypeNames([prop["type"]] if isinstance(prop.get("type"), str) else _strings(prop, "type"))
    named: dict[str, tuple[str, Value]] = {
        "AnyOf": ("anyOf", JsonList(map(_property_record, options))),
        "Type": ("type", types),
        "Items": ("items", _free(prop.get("items"))),
        "Description": ("description", _get(prop, "description", str)),
        "Enum": ("enum", _free(_get(prop, "enum", list))),
        "Properties": ("properties", _properties(prop)),
        "Required": ("required", _strings(prop, "required")),
    }
    return _record("ToolProperty", named)


def _properties(schema: Json) -> JsonMap:
    properties = _get(schema, "properties", dict).items()
    return JsonMap((name, _property_record(prop if isinstance(prop, Mapping) else {})) for name, prop in properties)


def _record(kind: str, named: Mapping[str, tuple[str, Value]], always: Sequence[str] = ()) -> Record:
    """``named``: Go name to JSON name and value. In JSON, what is empty is left out, but for ``always``."""
    fields = {name: value for name, (_, value) in named.items()}
    json = {key: value for key, value in named.values() if key in always or value or isinstance(value, Record)}
    return Record(kind, fields, json)


def _free(value: Any) -> Value:
    """Any JSON, which prints as JSON."""
    return from_json(value, JsonMap, JsonList)


def _strings(source: Json, key: str) -> JsonList:
    return JsonList(item for item in _get(source, key, list) if isinstance(item, str))


def _get(source: Json, key: str, kind: type[T]) -> T:
    value = source.get(key)
    return value if isinstance(value, kind) else kind()
