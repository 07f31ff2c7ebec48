import json

import jsonschema
import pytest

from gristmill.api.schema import Tool, ToolFunction
from gristmill.api.tools import call_schema, plain_tools, read_call, read_choice, shown_calls
from gristmill.runtime.errors import InvalidRequest

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TREE = {
    "type": "object",
    "properties": {"root": {"$ref": "#/$defs/node"}},
    "required": ["root"],
    "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}, "$ref": CITY}}},
}


def tool(name, parameters=CITY, *, strict=False):
    return Tool(function=ToolFunction(name=name, parameters=parameters, strict=strict))


def allowed(mode, *names):
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


WEATHER, TIME = tool("weather"), tool("time", {})


@pytest.mark.parametrize(
    ("tool_choice", "names", "forced"),
    [
        ("auto", ["weather", "time"], False),
        ("none", [], False),
        ("required", ["weather", "time"], True),
        ({"type": "function", "function": {"name": "time"}}, ["time"], True),
        (allowed("auto", "time"), ["time"], False),
        (allowed("required", "time", "weather"), ["weather", "time"], True),
        ({"type": "allowed_tools", "allowed_tools": {"tools": [{"function": {"name": "time"}}]}}, ["time"], False),
    ],
)
def test_who_is_offered(tool_choice, names, forced):
    choice = read_choice([WEATHER, TIME], tool_choice)
    assert [t.function.name for t in choice.offered] == names
    assert choice.forced == forced


@pytest.mark.parametrize(
    ("tool_choice", "text"),
    [
        ("all", "none of auto, none, required"),
        ({"type": "function"}, "an object must be"),
        ({"function": {"name": 5}}, "an object must be"),
        ({"function": {"name": "other"}}, 'there is no tool "other"'),
        (allowed("auto", "other"), 'there is no tool "other"'),
        (allowed("auto"), "a list of tools"),
        (allowed("none", "weather"), 'a mode, "auto" or "required"'),
        ({"type": "allowed_tools"}, "allowed_tools needs"),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": ["weather"]}}, "an object must be"),
    ],
)
def test_a_choice_that_cannot_be_made_is_refused(tool_choice, text):
    with pytest.raises(InvalidRequest, match=text):
        read_choice([WEATHER], tool_choice)


def test_a_call_cannot_be_required_without_tools_nor_offered_with_too_many():
    with pytest.raises(InvalidRequest, match="tools is empty"):
        read_choice([], "required")
    with pytest.raises(InvalidRequest, match="1025 are over the limit"):
        read_choice([WEATHER] * 1025, "auto")


def accepts(schema, call):
    return jsonschema.Draft202012Validator(json.loads(schema)).is_valid(call)


def test_a_forced_call_names_a_tool_and_keeps_to_its_parameters():
    schema = call_schema(read_choice([WEATHER, TIME], "required"))
    assert accepts(schema, {"name": "weather", "arguments": {"city": "Ulm"}})
    assert accepts(schema, {"name": "time", "arguments": {"any": 1}})
    assert not accepts(schema, {"name": "weather", "arguments": {}})
    assert not accepts(schema, {"name": "other", "arguments": {}})
    assert not accepts(schema, {"name": "weather", "arguments": {"city": "Ulm"}, "more": 1})


def test_without_force_only_strict_tools_are_held_to_their_parameters():
    choice = read_choice([WEATHER, tool("exact", strict=True)], "auto")
    assert choice.is_strict
    schema = call_schema(choice)
    assert accepts(schema, {"name": "weather", "arguments": {}})
    assert not accepts(schema, {"name": "exact", "arguments": {}})


def test_references_go_on_meaning_what_they_meant():
    schema = call_schema(read_choice([WEATHER, tool("tree", TREE)], "required"), "n", "a")
    assert accepts(schema, {"n": "tree", "a": {"root": {"next": {"next": {}}}}})
    assert not accepts(schema, {"n": "tree", "a": {"root": {"next": 5}}})
    assert not accepts(schema, {"n": "tree", "a": {"root": {"$ref": {}}}}), "a property of that name is none"


def test_a_call_is_read_back():
    assert read_call('{"name": "f", "arguments": {"a": 1}}') == ("f", {"a": 1})
    for text in ('{"name": "f", "argum', '{"name": "f", "parameters": {}}', '["f"]', '{"arguments": {}}', "5"):
        assert read_call(text) is None


def test_templates_are_not_told_of_strict():
    (shown,) = plain_tools(read_choice([tool("f", strict=True)], "auto"))
    assert shown == {"type": "function", "function": {"name": "f", "parameters": CITY}}


def test_calls_have_ids_of_their_own():
    first, second = shown_calls([("f", {}), ("g", {"a": 1})], 3)
    assert (first["function"]["index"], second["function"]["index"]) == (3, 4)
    assert first["id"] != second["id"]
    assert len(first["id"]) == len("call_") + 8
