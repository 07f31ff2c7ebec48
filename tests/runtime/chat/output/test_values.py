"""Argument values: bare text of declared types, JSON, and the spellings of Python and Gemma."""

from __future__ import annotations

import ast
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.outputs import tool

from gristmill.runtime.chat.output.declared import Declared
from gristmill.runtime.chat.output.literals import Literals, unescape
from gristmill.runtime.chat.output.values import MAX_DEPTH, Broken, convert, decode_json, decode_object, presentable


@pytest.mark.parametrize(
    ("text", "types", "expected"),
    [
        ("Paris", ("string",), "Paris"),
        ("3", ("string",), "3"),
        ("3", (), "3"),
        ("null", ("string",), None),
        ("NULL", (), None),
        ("true", ("boolean",), True),
        ("False", ("boolean",), False),
        ("yes", ("boolean",), False),
        ("yes", ("boolean", "string"), "yes"),
        ("12", ("integer",), 12),
        ("-12", ("integer", "string"), -12),
        ("12.5", ("integer",), "12.5"),
        ("12.5", ("integer", "number"), 12.5),
        ("3.0", ("number",), 3),
        ("1e3", ("number",), 1000),
        ("1e999", ("number",), "1e999"),
        ("nan", ("number",), "nan"),
        ("1_000", ("integer", "number"), "1_000"),
        ("9" * 5000, ("integer", "number"), "9" * 5000),
        ("[1, 2]", ("array",), [1, 2]),
        ('{"a": 1}', ("object",), {"a": 1}),
        ('{"a": 1}', ("array",), '{"a": 1}'),
        ("[1, 2", ("array", "string"), "[1, 2"),
        ("[1]", ("string",), "[1]"),
    ],
)
def test_text_becomes_the_first_declared_type_that_it_fits(text, types, expected):
    found = convert(text, types)
    assert found == expected
    assert type(found) is type(expected)


def test_declared_types_come_from_unions_too():
    declared = Declared([tool("f", a={"anyOf": [{"type": "integer"}, {"type": ["null", "string"]}]}, b="boolean")])
    assert declared.types("f", "a") == ("integer", "null", "string")
    assert declared.types("f", "b") == ("boolean",)
    assert declared.types("f", "c") == declared.types("g", "a") == ()


KEYS = st.sampled_from(["function", "name", "parameters", "properties", "required", "type", "anyOf"])
SHAPES = st.recursive(st.none() | st.text(max_size=3), lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner))


@given(SHAPES)
def test_no_shape_of_a_tool_is_a_surprise(value):
    declared = Declared([value, {"function": value}, {"function": {"name": "f", "parameters": value}}])
    assert declared.types("f", "name") is not None
    assert declared.required("f") is not None


@pytest.mark.parametrize(
    "text",
    ["", "{", "{'a': 1}", "NaN", "1e999", '{"a": 1} x', '"\\ud800"', "[" * 5000, "[" * 200 + "]" * 200, "9" * 5000],
)
def test_broken_json_is_told(text):
    with pytest.raises(Broken):
        decode_json(text)


def test_numbers_have_at_most_64_bits():
    assert decode_object('{"a": 123456789012345678901234567890}') == {"a": 1.2345678901234568e29}
    assert decode_object('{"a": 18446744073709551615}') == {"a": 2**64 - 1}
    with pytest.raises(Broken, match="not a JSON object"):
        decode_object("[1]")


def test_nesting_is_bounded():
    def nested(depth):
        return json.dumps([] if depth == 1 else [nested(depth - 1)]).replace('"', "")

    assert decode_json("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    with pytest.raises(Broken, match="nested too deep"):
        decode_json("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))
    with pytest.raises(Broken, match="nested too deep"):
        Literals("[" * 100_000).value()
    with pytest.raises(Broken, match="nested too deep"):
        Literals("{a:" * 100_000).value()


def test_what_leaves_can_be_written_as_json():
    assert presentable({"a\ud800": ["\udfff", True, 1.5]}) == {"a?": ["?", True, 1.5]}
    with pytest.raises(Broken, match="out of range"):
        presentable({"a": float("inf")})


PYTHON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab'\"\\ n", max_size=4), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(PYTHON)
def test_pythons_literals_are_read_as_python_reads_them(value):
    text = repr(value)
    assert ast.literal_eval(text) == value
    parser = Literals(text)
    assert parser.value() == value
    assert parser.ended()


@given(PYTHON)
def test_jsons_values_are_read_as_json_reads_them(value):
    text = json.dumps(value)
    assert Literals(text).value() == json.loads(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\\nb", "a\nb"),
        ("\\\\n", "\\n"),
        ("\\x41\\u00e4", "Aä"),
        ("\\ud83d\\ude00", "😀"),
        ("\\ud83d", "\ufffd"),
        ("\\d+", "\\d+"),
        ("'", "'"),
    ],
)
def test_escapes_are_pythons(text, expected):
    assert unescape(text) == expected


@given(st.text(st.sampled_from("ab'\"\\{}[](),:=1 .<|>"), max_size=60), st.booleans(), st.booleans())
def test_random_text_is_a_value_or_broken(text, gemma, mend):
    parser = Literals(text, delimiter='<|"|>' if gemma else "", mend=mend)
    try:
        presentable(parser.value())
    except Broken:
        return
    assert 0 <= parser.at <= len(text)


def n_steps(function) -> int:
    """How many lines of Python ``function`` runs."""
    count = 0

    def trace(frame, event, arg):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("piece", ["a:1,", 'a:<|"|>x<|"|>,', "a:[1,2],", "a:'x',"])
def test_values_take_linear_time(piece):
    def steps(n):
        return n_steps(lambda: Literals(piece * n + "}", delimiter='<|"|>').mapping(":", "}"))

    assert steps(400) <= 2.1 * steps(200)
