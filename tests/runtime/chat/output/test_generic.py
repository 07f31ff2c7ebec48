"""Models of which only the tags are known, and templates that show them."""

from __future__ import annotations

import json

import pytest
from support.outputs import TOOLS, content, read_with, thought, weather

from gristmill.runtime.chat.output import Call, CallFormat, Parsed, parser_for_go, parser_for_template
from gristmill.runtime.errors import OutputError

THINK = ("<think>", "</think>")
PARIS = weather(city="Paris")
OBJECT = '{"name": "get_weather", "arguments": {"city": "Paris"}}'


def go(text, *, thinking=None, tag="", tools=TOOLS, think=True, prompt=""):
    return read_with(lambda: parser_for_go(thinking, tag, tools=tools, think=think, prompt=prompt), text)


def jinja(source, text, *, tools=TOOLS, think=None, prompt_end=""):
    return read_with(lambda: parser_for_template(source, tools=tools, think=think, prompt_end=prompt_end), text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>Hm.</think>Hello.", thought("Hm.", "Hello.")),
        (" \n<think>\nHm. \n</think>\n\nHello. \n", thought("Hm. \n", "Hello. \n")),
        (" Hello <think>.", content(" Hello <think>.")),
        ("<thin king", content("<thin king")),
        ("<think>a</thi", thought("a")),
        ("<think>a</think>b<think>c</think>", thought("a", "b<think>c</think>")),
        ("<think>", Parsed()),
        ("  <thi", Parsed()),
        ("", Parsed()),
    ],
)
def test_thinking_comes_first(text, expected):
    assert go(text, thinking=THINK, tools=()) == expected


def test_thinking_that_the_prompt_opened():
    assert go("\nHm.</think>Hello.", thinking=THINK, prompt="<|assistant|><think>\n") == thought("Hm.", "Hello.")
    assert go("Hello.", thinking=THINK, prompt="<think>\n\n</think>\n\n") == content("Hello.")


@pytest.mark.parametrize("setup", [{"think": False}, {"think": None}, {"thinking": None}, {"thinking": ("", "")}])
def test_thinking_is_not_looked_for_if_it_is_off(setup):
    assert go("<think>a</think>b", **{"thinking": THINK, "tools": (), **setup}) == content("<think>a</think>b")


@pytest.mark.parametrize(
    ("tag", "text", "expected"),
    [
        ("<tool_call>", f"Well. <tool_call>{OBJECT}</tool_call>", Parsed("Well. ", calls=(PARIS,))),
        ("<tool_call>", f"<tool_call>{OBJECT}</tool_call>\n<tool_call>{OBJECT}", Parsed(calls=(PARIS, PARIS))),
        ("<tool_call>", "<tool_call>{broken", Parsed()),
        ("<tool_call>", "Hello <tool", content("Hello ")),
        ("[TOOL_CALLS]", f"[TOOL_CALLS] [{OBJECT}, {OBJECT}] x", Parsed(calls=(PARIS, PARIS))),
        ("[TOOL_CALLS]", '[TOOL_CALLS]get_weather{"city": "Paris"}', Parsed(calls=(PARIS,))),
        ("{", OBJECT, Parsed(calls=(PARIS,))),
        ("", f"{OBJECT}; {OBJECT}", Parsed(calls=(PARIS, PARIS))),
        ("{", f"Text. {OBJECT}", content(f"Text. {OBJECT}")),
        ("{", '{"a": 1} and more {', content('{"a": 1} and more {')),
        ("{", '{"a": "get_weather', content('{"a": "get_weather')),
        ("{", OBJECT + ' {"a": 1} x', Parsed(' {"a": 1} x', calls=(PARIS,))),
        ("[", f"[{OBJECT},{OBJECT}]", Parsed(calls=(PARIS, PARIS))),
        ("[", '[1, [2], {"a": 3}] x', content('[1, [2], {"a": 3}] x')),
        ("[", "[1, 2", content("[1, 2")),
        ("{", OBJECT.replace("arguments", "parameters"), Parsed(calls=(PARIS,))),
        ("{", '{"get_weather": {"city": "Paris"}}', Parsed(calls=(PARIS,))),
        ("{", '{"type": "function", "function": ' + OBJECT + "}", Parsed(calls=(PARIS,))),
        ("{", '{"x": [1, {"y": ' + OBJECT + "}]}", Parsed(calls=(PARIS,))),
        ("{", '{"name": "get_weather", "arguments": "{\\"city\\": \\"Paris\\"}"}', Parsed(calls=(PARIS,))),
        ("{", '{"name": "get_time", "arguments": {}}', Parsed(calls=(Call("get_time"),))),
        ("{", '{"name": "get_time"}', content('{"name": "get_time"}')),
        ("{", '{"name": "unknown", "arguments": {}}', content('{"name": "unknown", "arguments": {}}')),
        ("<t>", '<t>{"name": "unknown", "arguments": {}}' + OBJECT, Parsed(calls=(PARIS,))),
        ("<t>", '<t>get {bad} {"n": 1}', Parsed(calls=(Call("get", {"n": 1}),))),
        ("<t>", '<t>get_time {"get": "}\\"{"}', Parsed(calls=(Call("get_time", {"get": '}"{'}),))),
    ],
)
def test_calls_of_declared_tools_behind_a_tag(tag, text, expected):
    assert go(text, tag=tag) == expected


def test_thinking_and_then_a_call():
    assert go(f"<think>{OBJECT}</think>\n{OBJECT}", thinking=THINK) == thought(OBJECT, "", PARIS)


def test_without_tools_nothing_is_a_call():
    assert go(OBJECT, tools=()) == content(OBJECT)
    assert jinja("<tool_call>", OBJECT, tools=()) == content(OBJECT)


def test_arguments_keep_their_order():
    text = '{"name": "get", "arguments": {"z": 1, "a": {"y": 2, "b": 3}}}'
    assert repr(go(text).calls[0].arguments) == "{'z': 1, 'a': {'y': 2, 'b': 3}}"


def test_ten_thousand_tools_are_no_trouble():
    tools = [{"function": {"name": f"tool_{i}"}} for i in range(10_000)]
    text = "tool_" * 3000 + '{"name": "tool_777", "arguments": {}}'
    assert go("<t>" + text, tag="<t>", tools=tools) == Parsed(calls=(Call("tool_777"),))


FORMS = [
    ("<tool_call>", f"<tool_call>\n{OBJECT}\n</tool_call>"),
    (
        "<tool_call> <function=",
        "<tool_call><function=get_weather><parameter=city>Paris</parameter></function></tool_call>",
    ),
    ("<tool_call> <arg_key>", "<tool_call>get_weather<arg_key>city</arg_key><arg_value>Paris</arg_value></tool_call>"),
    ("[TOOL_CALLS] [ARGS]", '[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}'),
    ("[TOOL_CALLS]", f"[TOOL_CALLS] [{OBJECT}]"),
    ("[TOOL_CALLS]", f"[TOOL_CALLS]{OBJECT}"),
    ("<|tool_call_start|>", "<|tool_call_start|>[get_weather(city='Paris')]<|tool_call_end|>"),
    (
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>",
        '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{"city": "Paris"}<｜tool▁call▁end｜>',
    ),
    ("<|start|><|channel|>", '<|channel|>commentary to=functions.get_weather<|message|>{"city": "Paris"}'),
    ("<start_function_call>", "<start_function_call>call:get_weather{city:<escape>Paris<escape>}<end_function_call>"),
    ("<|tool_call>", '<|tool_call>call:get_weather{city:<|"|>Paris<|"|>}<tool_call|>'),
    ("<function_calls>", '<function_calls>get_weather(city="Paris")</function_calls>'),
    (
        "<|START_ACTION|>",
        '<|START_ACTION|>[{"tool_name": "get_weather", "parameters": {"city": "Paris"}}]<|END_ACTION|>',
    ),
    ("<|tool_call|>", f"<|tool_call|>[{OBJECT}]"),
    ("<TOOLCALL>", f"<TOOLCALL>[{OBJECT}]</TOOLCALL>"),
    ("<|python_tag|>", OBJECT.replace("arguments", "parameters")),
    ("no tags", OBJECT),
    (
        "<atem:function_calls>",
        ' to=get_weather<|message|><atem:function_calls><atem:invoke name="get_weather"><atem:parameter name="city">'
        "Paris</atem:parameter></atem:invoke></atem:function_calls>",
    ),
]


@pytest.mark.parametrize(("source", "text"), FORMS)
def test_a_template_shows_the_form_of_calls(source, text):
    assert jinja(f"{{% if tools %}}{source}{{% endif %}}", text) == Parsed(calls=(PARIS,))


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<think> </think>", "<think>\nHm.</think>\nHello."),
        ("{{ content.split('</think>')[-1] }}", "<think>Hm.</think>Hello."),
        ("<seed:think></seed:think>", "<seed:think>Hm.</seed:think>Hello."),
        ("[THINK]", "[THINK]Hm.[/THINK]Hello."),
        ("<|START_THINKING|>", "<|START_THINKING|>Hm.<|END_THINKING|>Hello."),
        ("<|channel>", "<|channel>thought\nHm.<channel|>Hello."),
        ("<|start|><|channel|>", "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|message|>Hello."),
    ],
)
def test_a_template_shows_the_tags_of_thinking(source, text):
    assert jinja(source, text, tools=()) == thought("Hm.", "Hello.")
    assert jinja(source + "<tool_call>", text, think=True) == thought("Hm.", "Hello.")


def test_the_end_of_the_prompt_says_where_the_answer_begins():
    source = "<think></think><tool_call>"
    assert jinja(source, "Hm.</think>Hello.", prompt_end="<think>\n", think=False) == thought("Hm.", "Hello.")
    assert jinja(source, "<think>a", prompt_end="<think>\n\n</think>\n\n") == content("<think>a")
    assert jinja(source, "<think>a", think=False) == content("<think>a")
    for end, expected in (("analysis<|message|>", thought("Hello.")), ("final<|message|>So, ", content("Hello."))):
        assert jinja("<|start|><|channel|>", "Hello.", prompt_end=f"<|start|>assistant<|channel|>{end}") == expected
    assert jinja("<|channel>", "Hm.<channel|>a", prompt_end="<|channel>thought\n") == thought("Hm.", "a")
    assert jinja("<|channel><|tool_call>", "<|channel>thought\nHm.<channel|>a", think=False) == content("a")


def test_a_template_without_tags_leaves_all_as_it_is():
    assert jinja("{{ messages }}", "<think>a</think>{}", tools=()) == content("<think>a</think>{}")


def test_mistrals_list_may_be_broken():
    with pytest.raises(OutputError, match="broken tool call"):
        jinja("[TOOL_CALLS]", "[TOOL_CALLS] [1]")
    assert jinja("[TOOL_CALLS]", "The tag [TOOL_CALLS] x") == content("The tag [TOOL_CALLS] x")
    assert jinja("[TOOL_CALLS]", "[TOOL_CALLS] [{") == Parsed()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("<tool_call>", CallFormat("<tool_call>\n", "\n</tool_call>")),
        ("[TOOL_CALLS]", CallFormat("[TOOL_CALLS] [", "]")),
        ("<TOOLCALL>", CallFormat("<TOOLCALL>[", "]</TOOLCALL>")),
        ("", CallFormat("", "", "name", "parameters")),
        ("<tool_call><function=", None),
        ("<|tool_call_start|>", None),
        ("<|start|><|channel|>", None),
    ],
)
def test_a_call_of_one_object_can_be_constrained(source, expected):
    parser = parser_for_template(source, tools=TOOLS)
    assert parser.call_format == expected
    if expected:
        call = json.dumps({expected.name_key: "get_weather", expected.arguments_key: {"city": "Paris"}})
        assert jinja(source, expected.open + call + expected.close) == Parsed(calls=(PARIS,))
