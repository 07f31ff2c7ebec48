"""Harmony and Glimmer: answers of several messages with headers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.outputs import content, read, thought, tool, weather

from gristmill.runtime.chat.output import Call, Parsed, harmony_names, own_name
from gristmill.runtime.chat.output.harmony import BUILT_IN_TOOLS, parse_header
from gristmill.runtime.errors import OutputError

ANALYSIS = "<|channel|>analysis<|message|>Hm.<|end|>"
FINAL = "<|start|>assistant<|channel|>final<|message|>Hello."
BODY = '<|message|>{"city": "Paris"}'
PARIS = weather(city="Paris")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Parsed()),
        (ANALYSIS + FINAL, thought("Hm.", "Hello.")),
        (ANALYSIS + FINAL + "<|return|>ignored", thought("Hm.", "Hello.")),
        ("<|start|>assistant" + ANALYSIS + FINAL, thought("Hm.", "Hello.")),
        (ANALYSIS.removesuffix("<|end|>") + FINAL, thought("Hm.", "Hello.")),
        (ANALYSIS + "dropped" + FINAL, thought("Hm.", "Hello.")),
        ("<|channel|>commentary<|message|>I look. <|end|>" + FINAL, content("I look. Hello.")),
        ("<|channel|>final<|message|>a <|en", content("a <|en")),
        ("<|message|>Hello.", content("Hello.")),
        ("Hello without a header.", content("Hello without a header.")),
        ("<|channel|>analysis", Parsed()),
        ("<|channel|>commentary to=functions.get_weather <|constrain|>json" + BODY, Parsed(calls=(PARIS,))),
        ("<|channel|>commentary to=get_weather<|constrain|>json" + BODY + "<|call|>x", Parsed(calls=(PARIS,))),
        (" to=functions.get_weather<|channel|>commentary" + BODY, Parsed(calls=(PARIS,))),
        ("<|channel|>analysis to=get_weather" + BODY, Parsed(calls=(PARIS,))),
        (ANALYSIS + "<|start|>to=functions.get_weather<|channel|>commentary" + BODY, thought("Hm.", "", PARIS)),
        (ANALYSIS + "<|start|>assistant<|channel|>final to=user<|message|>x", thought("Hm.", "x")),
        ("<|channel|>commentary to=functions.get_weather" + BODY + "<|end|>" + FINAL, Parsed("Hello.", "", (PARIS,))),
    ],
)
def test_harmonys_channels(text, expected):
    assert read("harmony", text) == expected


def test_harmony_goes_on_with_what_the_prompt_began():
    assert read("harmony", "Hello.<|return|>", prefill="content") == content("Hello.")
    assert read("harmony", "Hm.<|end|>" + FINAL, prefill="thinking") == thought("Hm.", "Hello.")


def test_harmonys_broken_call_is_an_error():
    with pytest.raises(OutputError, match=r"^error parsing tool call: raw='\{oops', err=JSON is malformed"):
        read("harmony", "<|channel|>commentary to=functions.f<|message|>{oops")


def test_a_header_is_bounded():
    with pytest.raises(OutputError, match="more than 4096"):
        read("harmony", "<|channel|>" + "x" * 5000)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("assistant<|channel|>final", ("final", "")),
        ("assistant to=f<|channel|>commentary", ("commentary", "f")),
        ("<|channel|>commentary to=functions.f <|constrain|>json", ("commentary", "functions.f")),
        ("to=f", ("", "f")),
        ("", ("", "")),
    ],
)
def test_headers(header, expected):
    assert parse_header(header) == expected


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["get_weather"], ["get_weather"]),
        (["get-weather", "get.weather", "get weather"], ["get_weather", "get_weather_2", "get_weather_3"]),
        (["a/b!", "ab", "ab_2"], ["ab", "ab_2", "ab_2_2"]),
        (["", "!!"], ["unnamed", "unnamed_2"]),
        (["3d"], ["_3d"]),
        (["größe$"], ["größe$"]),
        (sorted(BUILT_IN_TOOLS), sorted(BUILT_IN_TOOLS)),
    ],
)
def test_tools_are_told_under_valid_names(names, told):
    assert list(harmony_names(names).values()) == told


@given(st.lists(st.text("ab1-. _$ä!", max_size=5), unique=True))
def test_told_names_lead_back(names):
    told = harmony_names(names)
    assert len(set(told.values())) == len(names)
    for name, other in told.items():
        assert own_name(told, other) == own_name(told, f"functions.{other}") == name


def test_a_call_bears_the_tools_own_name():
    text = "<|channel|>commentary to=functions.get_my_weather<|message|>{}"
    assert read("harmony", text, tools=[tool("get-my.weather")]).calls == (Call("get-my.weather"),)
    assert read("harmony", text, tools=()).calls == (Call("get_my_weather"),)


ATEM = (
    '<atem:function_calls>\n<atem:invoke name="get_weather">\n<atem:parameter name="city">Paris</atem:parameter>\n'
    '<atem:parameter name="days">2</atem:parameter>\n</atem:invoke>\n</atem:function_calls>'
)
THINKING = " to=self<|message|>Hm.<|eom|><|start|>assistant"
TWO_DAYS = weather(city="Paris", days=2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (THINKING + " to=user<|message|>Hello.<|eot|>ignored", thought("Hm.", "Hello.")),
        (THINKING + f" to=get_weather<|message|>{ATEM}<|eot|>", thought("Hm.", "", TWO_DAYS)),
        (THINKING + f" to=get_weather.get_weather<|message|>{ATEM}<|eom|>", thought("Hm.", "", TWO_DAYS)),
        ("<|message|>Hello.", content("Hello.")),
        ("Hello.", content("Hello.")),
        (f" to=user<|message|>{ATEM}<|eot|>", Parsed(calls=(TWO_DAYS,))),
        (f" to=user<|message|> {ATEM[:-30]}", content(f" {ATEM[:-30]}")),
        (f" to=user<|message|>See {ATEM}", content(f"See {ATEM}")),
        ("<|start|>assistant to=self<|message|>Hm.<|start|>assistant<|message|>Hello.", thought("Hm.", "Hello.")),
    ],
)
def test_glimmers_recipients(text, expected):
    assert read("glimmer", text) == expected


def test_glimmers_thinking_is_dropped_when_off():
    assert read("glimmer", THINKING + "<|message|>Hello.", think=False) == content("Hello.")


@pytest.mark.parametrize(
    "body", ["", "{}", ATEM.replace("</atem:invoke>", ""), ATEM.replace('"get_weather"', '"get_time"')]
)
def test_glimmers_broken_call_is_an_error(body):
    with pytest.raises(OutputError, match="broken tool call"):
        read("glimmer", f" to=get_weather<|message|>{body}<|eot|>")
