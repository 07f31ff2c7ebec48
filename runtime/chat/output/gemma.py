"""Gemma 4's calls, and FunctionGemma's.

    <|tool_call>call:get_weather{city:<|"|>Köln<|"|>,days:3}<tool_call|>
    <start_function_call>call:get_weather{city:<escape>Köln<escape>}<end_function_call>

Gemma 4 now and then forgets to close a string or the braces before the closing tag; that is mended. Of a call that
the answer ends in, only the closing tag may be missing: mending more could run half a command.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from .base import Call
from .forms import Delimited, named
from .literals import Literals
from .values import Broken, presentable

# Left over after calls: what a model writes once too often, and where it expects the tool's answer.
GEMMA4_LEFTOVERS = ("<tool_call|>", "<|tool_response>")
_QUOTE = '<|"|>'


def gemma4_calls() -> Delimited:
    """Broken calls are dropped."""
    return Delimited(
        "<|tool_call>",
        "<tool_call|>",
        partial(parse_gemma_call, _QUOTE, mend=True),
        parse_unclosed=partial(parse_gemma_call, _QUOTE),
        inner=(_QUOTE,),
    )


def functiongemma_calls() -> Delimited:
    """Broken calls are dropped."""
    parse = partial(parse_gemma_call, "<escape>")
    return Delimited("<start_function_call>", "<end_function_call>", parse, inner=("<escape>",))


def parse_gemma_call(delimiter: str, body: str, *, mend: bool = False) -> Iterator[Call]:
    """The one call of ``body``, whose strings stand between ``delimiter``. Raises Broken. Linear."""
    head, brace, arguments = body.partition("{")
    prefix, colon, name = head.partition("call:")
    if not (brace and colon) or prefix.strip():
        raise Broken('no "call:name{"')
    text = Literals(arguments, delimiter=delimiter, mend=mend)
    found = text.mapping(":", "}")
    if not text.ended():
        raise Broken(f"more than a call, from character {text.at}")
    yield Call(named(name), presentable(found))
