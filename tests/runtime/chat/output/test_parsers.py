"""Each family's format: what becomes content, thinking and calls. How the text is cut into pieces changes nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.runtime.chat.output import (
    BUILT_IN,
    Beginning,
    Call,
    Parsed,
    make_parser,
    parser_for_go,
    parser_for_jinja,
)
from gristmill.runtime.errors import OutputError


def tool(name, **properties):
    schema = {"type": "object", "properties": properties, "required": list(properties)[:1]}
    return {"type": "function", "function": {"name": name, "parameters": schema}}


TOOLS = [
    tool("get_weather", city={"type": "string"}, days={"type": "integer"}, metric={"type": "boolean"}),
    tool("get_weather_now", at={"type": "array"}, more={"anyOf": [{"type": "number"}, {"type": "object"}]}),
    tool("f", a={"type": "string"}, b={"type": ["integer", "string"]}),
]
PARIS = Call("get_weather", {"city": "Paris", "days": 3})


def joined(parser, pieces):
    parsed = Parsed()
    for piece in pieces:
        parsed += parser.feed(piece)
    return parsed + parser.finish()


def read(name, text, **beginning):
    return joined(make_parser(name, Beginning(tools=TOOLS, **beginning)), [text])


ARGUMENTS = '{"city": "Paris", "days": 3}'
XML = (
    "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n"
    "<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>"
)
JSON = f'<tool_call>\n{{"name": "get_weather", "arguments": {ARGUMENTS}}}\n</tool_call>'
GLM = (
    "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n"
    "<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>"
)
DEEPSEEK = (
    f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{ARGUMENTS}"
    "<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
)
COGITO = (
    f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{ARGUMENTS}\n```"
    "<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
)
GEMMA = '<|tool_call>call:get_weather{city:<|"|>Paris<|"|>,days:3}<tool_call|>'
FUNCTIONGEMMA = "<start_function_call>call:get_weather{city:<escape>Paris<escape>,days:3}<end_function_call>"
OLMO = '<function_calls>get_weather(city="Paris", days=3)</function_calls>'
LFM = "<|tool_call_start|>[get_weather(city='Paris', days=3)]<|tool_call_end|>"
MINISTRAL = f"[TOOL_CALLS]get_weather[ARGS]{ARGUMENTS}"
COHERE = f'<|START_ACTION|>[{{"tool_call_id": 0, "tool_name": "get_weather", "parameters": {ARGUMENTS}}}]<|END_ACTION|>'
HARMONY = f"<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{ARGUMENTS}<|call|>"
GLIMMER = (
    ' to=user<|message|><atem:function_calls><atem:invoke name="get_weather"><atem:parameter name="city">Paris'
    '</atem:parameter><atem:parameter name="days">3</atem:parameter></atem:invoke></atem:function_calls><|eot|>'
)

CALLS = {
    **dict.fromkeys(("qwen3", "qwen3-vl-instruct"), JSON),
    **dict.fromkeys(("qwen3-thinking", "qwen3-vl-thinking"), "</think>" + JSON),
    "qwen3-coder": XML,
    **dict.fromkeys(("qwen3.5", "ornith", "nemotron-3-nano", "nemotron-3.5-nano"), "</think>" + XML),
    "deepseek3": "</think>" + DEEPSEEK,
    "cogito": COGITO,
    **dict.fromkeys(("glm-4.7", "laguna", "poolside-v1"), "</think>" + GLM),
    "glm-ocr": GLM,
    **dict.fromkeys(("gemma4", "gemma4-no-thinking"), GEMMA),
    "functiongemma": FUNCTIONGEMMA,
    "olmo3": OLMO,
    **dict.fromkeys(("lfm2", "lfm2-thinking"), LFM),
    "ministral": MINISTRAL,
    "cohere": "<|END_THINKING|>" + COHERE,
    "harmony": HARMONY,
    "glimmer": GLIMMER,
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_of_each_family(name):
    assert read(name, CALLS[name]) == Parsed(calls=(PARIS,))


def test_every_family_that_has_calls_is_tested():
    assert set(CALLS) == {name for name, spec in BUILT_IN.items() if spec.tools}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("qwen3", f"Let me see. \n{JSON}\n{JSON}\n", Parsed("Let me see.", "", (PARIS, PARIS))),
        ("qwen3", f"a {JSON} b ", Parsed("ab", "", (PARIS,))),
        ("qwen3", " two  words ", Parsed(" two  words")),
        ("qwen3-thinking", "<think>\nhm </think>\n\nyes", Parsed("yes", "hm")),
        ("qwen3-thinking", "hm " + JSON, Parsed("", "hm", (PARIS,))),
        ("qwen3.5", "hm\n</think>\n\nyes", Parsed("yes", "hm")),
        ("deepseek3", "hm</think>yes", Parsed("yes", "hm")),
        ("lfm2-thinking", "<think>hm</think>yes", Parsed("yes", "hm")),
        ("lfm2-thinking", "yes", Parsed("yes")),
        ("gemma4", "<|channel>thought\nhm<channel|>yes", Parsed("yes", "hm")),
        ("ministral", "a[THINK]hm[/THINK]b" + MINISTRAL + MINISTRAL, Parsed("ab", "hm", (PARIS, PARIS))),
        ("cohere", "hm<|END_THINKING|><|START_TEXT|>yes<|END_TEXT|>", Parsed("yes", "hm")),
        ("harmony", "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>yes<|return|>",
         Parsed("yes", "hm")),
        ("harmony", "<|channel|>commentary<|message|>note<|end|><|start|>assistant" + HARMONY,
         Parsed("note", "", (PARIS,))),
        ("harmony", ' to=f<|channel|>commentary<|message|>{"a": "x"}', Parsed(calls=(Call("f", {"a": "x"}),))),
        ("glimmer", " to=self thinking<|message|>hm<|eom|><|start|>assistant<|message|>yes<|eot|>",
         Parsed("yes", "hm")),
        ("olmo3", '<function_calls>f(a="x")\nf(a=[1, {"k": null}], b=-2)</function_calls>',
         Parsed(calls=(Call("f", {"a": "x"}), Call("f", {"a": [1, {"k": None}], "b": -2})))),
        ("gemma4", '<|tool_call>call:f{a:<|"|>x, y<|"|>,b:{c:[1,true,no]}', Parsed()),
        ("gemma4", '<|tool_call>call:f{a:<|"|>x, y<|"|>,b:{c:[1,true,no]<tool_call|>',
         Parsed(calls=(Call("f", {"a": "x, y", "b": {"c": [1, True, "no"]}}),))),
        ("laguna", '</think><tool_call>{"name": "f", "arguments": {"a": "x"}}</tool_call>',
         Parsed(calls=(Call("f", {"a": "x"}),))),
        ("glm-4.7", "</think><tool_call>f<arg_key>a</arg_key><arg_value>x</arg_value>",
         Parsed(calls=(Call("f", {"a": "x"}),))),
        ("qwen3", "text <tool_call>{", Parsed("text")),
        ("passthrough", "<think> anything", Parsed("<think> anything")),
    ],
)  # fmt: skip
def test_what_a_text_is(name, text, expected):
    assert read(name, text) == expected


@pytest.mark.parametrize("name", ["qwen3-thinking", "qwen3.5", "glm-4.7", "deepseek3", "cohere"])
@pytest.mark.parametrize("beginning", [{"think": False}, {"prefill": "content"}])
def test_without_thinking_all_is_content(name, beginning):
    assert read(name, "yes", **beginning) == Parsed("yes")


def test_thinking_that_is_off_is_dropped_where_a_model_thinks_all_the_same():
    assert read("gemma4", "<|channel>thought\nhm<channel|>yes", think=False) == Parsed("yes")


@pytest.mark.parametrize(
    ("text", "types", "value"),
    [
        ("3", {"type": "integer"}, 3),
        ("3.0", {"type": "number"}, 3),
        ("3.5", {"type": "number"}, 3.5),
        ("x", {"type": "integer"}, "x"),
        ("TRUE", {"type": "boolean"}, True),
        ("yes", {"type": "boolean"}, False),
        ("yes", {"type": ["boolean", "string"]}, "yes"),
        ("Null", {"type": "string"}, None),
        ("[1]", {"type": "array"}, [1]),
        ("[1]", {"type": "string"}, "[1]"),
        ('{"a": 1}', {"anyOf": [{"type": "object"}, {"type": "string"}]}, {"a": 1}),
        ("NaN", {"type": "number"}, "NaN"),
        ("3", None, "3"),
    ],
)
def test_values_have_their_declared_types(text, types, value):
    from gristmill.runtime.chat.output.values import value_of

    found = value_of(text, types)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("qwen3", "<tool_call>{nothing}</tool_call>"),
        ("qwen3-coder", "<tool_call><function=f><parameter=a>x</tool_call>"),
        ("glm-4.7", "</think><tool_call><arg_key></tool_call>"),
        ("ministral", "[TOOL_CALLS]other[ARGS]{}"),
        ("ministral", "[TOOL_CALLS]f[ARGS]{nothing}"),
        ("harmony", "<|channel|>commentary to=f<|message|>nothing<|call|>"),
        ("glimmer", "<|message|><atem:function_calls>x</atem:function_calls>"),
    ],
)
def test_broken_calls_are_errors_of_some_families(name, text):
    with pytest.raises(OutputError):
        read(name, text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("deepseek3", "</think>a<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>x<｜tool▁calls▁end｜>b"),
        ("olmo3", "a<function_calls>f(1); import os</function_calls>b"),
        ("lfm2", "a<|tool_call_start|>[__import__('os').system(c='x')(a=f())]<|tool_call_end|>b"),
        ("cohere", "<|END_THINKING|>a<|START_ACTION|>{}<|END_ACTION|>b"),
    ],
)
def test_broken_calls_are_dropped_by_others(name, text):
    assert read(name, text) == Parsed("ab")


PIECES = st.sampled_from(
    [
        *("<think>", "</think>", "<tool_call>", "</tool_call>", "[THINK]", "[/THINK]", "[TOOL_CALLS]"),
        *("<|start|>", "<|message|>", "<|end|>", "<|channel|>final", "{", "}", "[", "]", '"', " ", "\n", "word", "<"),
        *(JSON, XML, GLM, DEEPSEEK, GEMMA, LFM, OLMO, COHERE, HARMONY, MINISTRAL, "get_weather", "é", "a=1"),
        '{"name": "f", "arguments": {"a": "x"}}',
    ]
)


def outcome(make, pieces):
    try:
        return joined(make(), pieces)
    except OutputError:
        return "error"


MAKERS = {
    **{name: lambda name=name: make_parser(name, Beginning(tools=TOOLS)) for name in BUILT_IN},
    "go": lambda: parser_for_go(("<think>", "</think>"), "<tool_call>", Beginning(tools=TOOLS), "<think>"),
    "go {": lambda: parser_for_go(None, "{", Beginning(tools=TOOLS), ""),
    "go [": lambda: parser_for_go(None, "[", Beginning(tools=TOOLS), ""),
    "jinja": lambda: parser_for_jinja("<think></think><tool_call>", Beginning(tools=TOOLS), ""),
    "mistral": lambda: parser_for_jinja("[TOOL_CALLS]", Beginning(tools=TOOLS), ""),
}


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=60, deadline=None)
@given(parts=st.lists(PIECES, max_size=8), cuts=st.lists(st.integers(1, 5), min_size=1, max_size=20))
def test_the_pieces_in_which_text_comes_change_nothing(name, parts, cuts):
    text, pieces, at = "".join(parts), [], 0
    while at < len(text):
        size = cuts[len(pieces) % len(cuts)]
        pieces.append(text[at : at + size])
        at += size
    whole = outcome(MAKERS[name], [text])
    assert outcome(MAKERS[name], pieces) == whole
    assert outcome(MAKERS[name], list(text)) == whole


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=30, deadline=None)
@given(parts=st.lists(PIECES, max_size=8))
def test_no_text_is_invented(name, parts):
    text = "".join(parts)
    parsed = outcome(MAKERS[name], [text])
    if parsed != "error":
        rest = iter(text)
        assert all(char in rest for char in parsed.content), "content is part of the text, in its order"
