"""The names that a model's configuration may hold, and what each parser says of itself."""

from __future__ import annotations

import pytest
from support.outputs import TOOLS, cut_up, feed

from gristmill.runtime.chat.output import BUILT_IN, RENDERERS, Parsed, make_parser, parser_for_go

CAPABILITIES = """
qwen3 t-  qwen3-thinking tt  qwen3.5 tt  ornith tt  qwen3-coder t-  qwen3-vl-instruct t-  qwen3-vl-thinking tt
ministral t-  passthrough --  harmony tt  cogito tt  deepseek3 tt  olmo3 t-  olmo3-think -t  nemotron-3-nano tt
nemotron-3.5-nano tt  functiongemma t-  glm-4.7 tt  glm-ocr t-  gemma4 tt  gemma4-no-thinking t-  lfm2 t-
lfm2-thinking tt  laguna tt  poolside-v1 tt  cohere tt  glimmer tt
"""


def test_capabilities_are_as_ollamas():
    words = CAPABILITIES.split()
    expected = dict(zip(words[::2], words[1::2], strict=True))
    found = {name: "t-"[not spec.tools] + "t-"[not spec.thinking] for name, spec in BUILT_IN.items()}
    assert found == expected


def test_unknown_names_have_no_parser():
    assert make_parser("unknown") is None
    assert "qwen3.5" in RENDERERS
    assert "unknown" not in RENDERERS


# What follows the thinking that an answer begins with, and whether it does.
THINKING = {
    "qwen3-thinking": "</think>",
    "qwen3-vl-thinking": "</think>",
    "qwen3.5": "</think>",
    "deepseek3": "</think>",
    "glm-4.7": "</think>",
    "laguna": "</think>",
    "olmo3-think": "</think>",
    "cohere": "<|END_THINKING|>",
    "harmony": "<|end|><|start|>assistant<|channel|>final<|message|>",
    "glimmer": "<|eom|><|start|>assistant to=user<|message|>",
}
OPENING = {"harmony": "<|channel|>analysis<|message|>", "glimmer": " to=self<|message|>"}


@pytest.mark.parametrize(("name", "end"), THINKING.items())
def test_it_is_known_where_content_begins(name, end):
    parser = make_parser(name, think=True)
    assert parser.in_thinking
    for char in OPENING.get(name, "") + "Hm." + end[:-1]:
        parser.feed(char)
        assert parser.in_thinking
    assert parser.thinking_end == end
    parser.feed(end[-1])
    assert not parser.in_thinking
    assert parser.feed("Hello.").content == "Hello."


@pytest.mark.parametrize("name", ["lfm2-thinking", "glm-ocr", "gemma4"])
def test_until_it_is_decided_it_may_be_thinking(name):
    parser = make_parser(name, think=True)
    assert parser.in_thinking
    parser.feed(" <")
    assert parser.in_thinking
    parser.feed("x")
    assert not parser.in_thinking


def test_thinking_that_begins_again_is_seen():
    parser = make_parser("gemma4", think=True)
    parser.feed("a")
    assert not parser.in_thinking
    parser.feed("<|channel>")
    assert parser.in_thinking
    parser.feed("thought\nHm.<channel|>")
    assert not parser.in_thinking


def test_without_thinking_content_begins_at_once():
    for name in BUILT_IN:
        if name not in ("harmony", "glimmer", "olmo3-think", "qwen3-vl-thinking", "glm-ocr", "glm-4.7"):
            assert not make_parser(name, think=False).in_thinking, name
    assert not make_parser("harmony", prefill="content").feed("").calls
    parser = parser_for_go(("<think>", "</think>"), "", tools=TOOLS, think=True)
    assert parser.in_thinking
    parser.feed("<think>Hm.</think>")
    assert not parser.in_thinking


def test_markers_name_the_tags_that_must_be_seen():
    for name, tags in (
        ("qwen3-thinking", {"<think>", "</think>", "<tool_call>", "</tool_call>"}),
        ("harmony", {"<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|constrain|>"}),
        ("ministral", {"[TOOL_CALLS]", "[ARGS]", "[THINK]", "[/THINK]"}),
        ("gemma4", {"<|tool_call>", "<tool_call|>", '<|"|>', "<|channel>", "<channel|>", "<|tool_response>"}),
        ("glm-4.7", {"<tool_call>", "<arg_key>", "</arg_value>"}),
    ):
        assert tags <= set(make_parser(name, tools=TOOLS).markers), name
    assert make_parser("passthrough").markers == ()


def test_after_an_error_and_after_the_last_message_nothing_comes():
    parser = make_parser("harmony")
    assert feed(parser, "<|message|>a<|return|>", "b") == Parsed("a")
    parser = make_parser("qwen3")
    for piece in cut_up("<tool_call>{</tool_call>", 30):
        with pytest.raises(Exception, match="broken tool call"):
            parser.feed(piece)
    assert feed(parser, "b") == Parsed()
