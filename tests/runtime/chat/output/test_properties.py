"""What holds for every parser and every text: pieces do not matter, nothing is invented, time is linear."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.outputs import TOOLS, cut_up, outcome

from gristmill.runtime.chat.output import (
    BUILT_IN,
    OutputParser,
    Parsed,
    make_parser,
    parser_for_go,
    parser_for_template,
)
from gristmill.runtime.chat.output.base import StreamParser
from gristmill.runtime.errors import OutputError

TEMPLATES = {
    "hermes": "<think></think><tool_call>",
    "xml": "<think></think><tool_call><function=",
    "mistral": "[TOOL_CALLS]",
    "lfm2": "<|tool_call_start|>",
    "llama": "<|python_tag|>",
    "granite": "<|tool_call|>",
}
GO = {"none": "", "list": "[", "tag": "<tool_call>"}
SETUPS = [{}, {"think": True}, {"think": False}, {"think": True, "prefill": "content", "last_role": "assistant"}]
MAKERS = {
    **{f"{name} {i}": (lambda name=name, setup=setup: make_parser(name, tools=TOOLS, **setup))
       for name in BUILT_IN for i, setup in enumerate(SETUPS)},
    **{f"jinja {name}": (lambda source=source: parser_for_template(source, tools=TOOLS))
       for name, source in TEMPLATES.items()},
    **{f"go {name}": (lambda tag=tag: parser_for_go(("<think>", "</think>"), tag, tools=TOOLS, think=True))
       for name, tag in GO.items()},
}  # fmt: skip
# What families write inside calls; the tags come from the parsers themselves.
INSIDE = [
    "get_weather", "get", "get_time", "city",
    '{"name": "get_weather", "arguments": {"city": "x"}}', '{"city": "a\\"}"}',
    "{", "}", "[", "]", "(", ")", ",", ":", "=", '"', "'", "\\", "call:", "call:get_weather{city:", "<function=get>",
    "<parameter=n>", "</parameter>", "</function>", "<arg_key>", "[get_weather(city='x')]", "[get_weather(", "to=self",
    " to=functions.get", "<|message|>", "<|start|>assistant", "<|channel|>analysis", "<atem:function_calls>",
    "thought\n",
    '<atem:invoke name="get">', '<atem:parameter name="n">', "</atem:parameter>", "</atem:invoke>", "null", "1e999",
    "</atem:function_calls>", "\n```json\n", "\n```", "7", " ", "\n", "\u3000", "é", "<", "</", "<|", "function",
]  # fmt: skip


@cache
def pieces(maker: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*MAKERS[maker]().markers * 3, *INSIDE]))


@st.composite
def texts(draw, maker: str) -> str:
    tags = MAKERS[maker]().markers or ("<",)
    parts = draw(st.lists(st.one_of(st.sampled_from(tags), st.sampled_from(INSIDE), st.text(max_size=3)), max_size=14))
    return "".join(part[: draw(st.integers(1, len(part)))] if part and draw(st.booleans()) else part for part in parts)


def parts(draw, text: str) -> list[str]:
    found = []
    while text:
        n = draw(st.integers(1, min(len(text), 12)))
        found, text = [*found, text[:n]], text[n:]
    return found


def is_inside(part: str, whole: str) -> bool:
    """Whether ``part`` is ``whole`` with some characters left out."""
    left = iter(whole)
    return all(char in left for char in part)


@pytest.mark.parametrize("maker", MAKERS)
@settings(max_examples=15)
@given(st.data())
def test_pieces_do_not_matter_and_nothing_is_invented(maker, data):
    text = data.draw(texts(maker))
    found = outcome(MAKERS[maker](), [text])
    assert outcome(MAKERS[maker](), parts(data.draw, text)) == found
    assert outcome(MAKERS[maker](), list(text)) == found
    if isinstance(found, OutputError):
        assert "\n" not in str(found)
        assert len(str(found)) < 400
        return
    assert is_inside(found.content, text)
    assert is_inside(found.thinking, text)


@pytest.mark.parametrize("maker", MAKERS)
@settings(max_examples=10)
@given(text=st.text(st.sampled_from("abé .\n"), max_size=60), size=st.integers(1, 9))
def test_text_without_tags_is_never_lost(maker, text, size):
    found = outcome(MAKERS[maker](), cut_up(text, size))
    assert isinstance(found, Parsed)
    assert (found.content + found.thinking).strip() == text.strip()


def n_scanned(parser: OutputParser) -> int:
    readers = [parser] if isinstance(parser, StreamParser) else [parser._first, parser._second]
    return sum(part.reader.n_scanned for part in readers)


def scanned(maker: str, text: str, size: int) -> int:
    parser = MAKERS[maker]()
    try:
        for piece in cut_up(text, size):
            parser.feed(piece)
        parser.finish()
    except OutputError:
        pass
    return n_scanned(parser)


@pytest.mark.parametrize("maker", [name for name in MAKERS if not name.endswith((" 0", " 2", " 3"))])
def test_each_character_is_looked_at_a_bounded_number_of_times(maker):
    longest = max(map(len, MAKERS[maker]().markers or ("x",)))
    opened = "".join(MAKERS[maker]().markers[:4])
    for piece in pieces(maker):
        for text in (piece * 80, piece[:-1] * 80, opened + piece * 80, " \n" * 100 + piece):
            for size in (1, 10**6):
                assert scanned(maker, text, size) <= (longest + 24) * (len(text) + 1), (piece, size)
