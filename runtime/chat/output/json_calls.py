"""Calls as JSON objects between tags: of Qwen 3, Hermes and whoever learned from them, of Nemotron Nano 2, of Cohere.

<tool_call>
{"name": "f", "arguments": {"a": 1}}
</tool_call>
<TOOLCALL>[{"name": "f", "arguments": {"a": 1}}]</TOOLCALL>
<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "f", "parameters": {"a": 1}}]<|END_ACTION|>
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .base import Call, CallFormat
from .forms import Delimited, named
from .reader import Brackets
from .values import Broken, decode_json, decode_object


def json_calls() -> Delimited:
    """One object, or a list of them, between <tool_call> and </tool_call>."""
    form = CallFormat("<tool_call>\n", "\n</tool_call>")
    return Delimited("<tool_call>", "</tool_call>", parse_json_calls, strict=True, call_format=form)


def nemotron2_calls() -> Delimited:
    """A list between <TOOLCALL> and </TOOLCALL>."""
    form = CallFormat("<TOOLCALL>[", "]</TOOLCALL>")
    return Delimited("<TOOLCALL>", "</TOOLCALL>", parse_json_calls, strict=True, call_format=form)


def cohere_actions() -> Delimited:
    """A list in which each broken call is dropped alone; whole calls of an unclosed list count."""
    return Delimited("<|START_ACTION|>", "<|END_ACTION|>", parse_actions, parse_unclosed=parse_actions)


def parse_json_calls(body: str) -> list[Call]:
    """The calls of {"name": .., "arguments": {..}}, or of a list of such. Raises Broken."""
    value = decode_json(body)
    return [object_call(item) for item in (value if isinstance(value, list) else [value])]


def parse_actions(body: str) -> Iterator[Call]:
    """The calls of those objects in ``body`` that are whole."""
    for text in objects(body):
        try:
            yield object_call(decode_object(text), "tool_name", "parameters")
        except Broken:
            continue


def object_call(value: Any, name_key: str = "name", arguments_key: str = "arguments") -> Call:
    """The call that a decoded object is; arguments may be left out, or be JSON text. Raises Broken."""
    if not isinstance(value, dict):
        raise Broken("not a JSON object")
    name = value.get(name_key)
    if not isinstance(name, str):
        raise Broken(f"no {name_key}")
    arguments = value.get(arguments_key)
    if isinstance(arguments, str):
        arguments = decode_object(arguments)
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise Broken(f"{arguments_key} are not an object")
    return Call(named(name), arguments)


def objects(text: str) -> Iterator[str]:
    """The outermost {...} of ``text``, in order; an unclosed one is left out. Linear."""
    at = text.find("{")
    while at >= 0:
        end = Brackets().end(text, at)
        if end < 0:
            return
        yield text[at:end]
        at = text.find("{", end)
