"""Glimmer's turns: headers that name who is spoken to, and calls in XML of its own."""

from __future__ import annotations

import re

from .base import Call, OutputParser, Parsed, Tools
from .scan import first_tag, partial_tag
from .tagged import CallSyntax, TaggedParser
from .values import declared, value_of

_START, _MESSAGE = "<|start|>", "<|message|>"
_ENDS = ("<|eom|>", "<|eot|>", _START)
_INVOKE = re.compile(r"\s*<atem:invoke name=\"([^\"]+)\">", re.DOTALL)
_PARAMETER = re.compile(r"\s*<atem:parameter name=\"([^\"]+)\">", re.DOTALL)
_PARAMETER_END, _INVOKE_END = "</atem:parameter>", "</atem:invoke>"


def invocations(body: str, tools: Tools) -> list[Call]:
    """Any number of ``<atem:invoke name="f">`` with ``<atem:parameter name="k">`` inside. Raises ValueError."""
    calls, at = [], 0
    while invoke := _INVOKE.match(body, at):
        types, arguments, at = declared(tools, invoke[1]), {}, invoke.end()
        while parameter := _PARAMETER.match(body, at):
            end = body.find(_PARAMETER_END, parameter.end())
            if end < 0:
                raise ValueError(f"no {_PARAMETER_END}")
            arguments[parameter[1]] = value_of(body[parameter.end() : end], types.get(parameter[1]))
            at = end + len(_PARAMETER_END)
        end = body.find(_INVOKE_END, at)
        if end < 0 or body[at:end].strip():
            raise ValueError(f"no {_INVOKE_END}")
        calls.append(Call(invoke[1], arguments))
        at = end + len(_INVOKE_END)
    if body[at:].strip() or not calls:
        raise ValueError("no <atem:invoke>")
    return calls


CALLS = CallSyntax("<atem:function_calls>", "</atem:function_calls>", invocations, broken="error")


class GlimmerParser(OutputParser):
    """The prompt ends inside a header. What is said to itself (a header that speaks of thinking) is thinking."""

    def __init__(self, tools: Tools):
        self._content = TaggedParser(None, CALLS, tools)
        self._held, self._state, self._thinks = "", "header", False

    @property
    def in_thinking(self) -> bool:
        return self._state == "header" or self._thinks

    def feed(self, text: str) -> Parsed:
        self._held += text
        parsed, before = Parsed(), ("", "")
        while self._held and (self._held, self._state) != before:
            before = (self._held, self._state)
            parsed += self._header() if self._state == "header" else self._body()
        return parsed

    def finish(self) -> Parsed:
        rest = self._put(self._held) if self._state == "body" else Parsed()
        return rest + self._content.finish()

    def _header(self) -> Parsed:
        header, tag, rest = self._held.partition(_MESSAGE)
        if tag:
            self._held, self._state = rest, "body"
            self._thinks = "think" in header or "analysis" in header
        return Parsed()

    def _body(self) -> Parsed:
        found = first_tag(self._held, _ENDS)
        if found is None:
            cut = len(self._held) - partial_tag(self._held, _ENDS)
            text, self._held = self._held[:cut], self._held[cut:]
            return self._put(text)
        at, tag = found
        text, self._held, self._state = self._held[:at], self._held[at + len(tag) :], "header"
        return self._put(text)

    def _put(self, text: str) -> Parsed:
        return Parsed(thinking=text) if self._thinks else self._content.feed(text)
