"""Glimmer: messages to recipients, calls in a kind of XML in which nothing is escaped.

 to=self<|message|>Hm.<|eom|>
<|start|>assistant to=f<|message|><atem:function_calls>
<atem:invoke name="f">
<atem:parameter name="a">1</atem:parameter>
</atem:invoke>
</atem:function_calls><|eom|>
<|start|>assistant to=user<|message|>Hello.<|eot|>
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .base import Call
from .declared import Declared
from .forms import emit_calls, named
from .messages import MESSAGE, START, MessageParser
from .reader import MAX_SPACE, Tags, Wait, discard
from .values import Broken, convert

_CALLS, _CALLS_END = "<atem:function_calls>", "</atem:function_calls>"
_INVOKE = re.compile(r'\s*<atem:invoke name="([^">]{0,256})">\s*')
_PARAMETER = re.compile(r'<atem:parameter name="([^">]{0,256})">')
_PARAMETER_END, _INVOKE_END = "</atem:parameter>", "</atem:invoke>"


class GlimmerParser(MessageParser):
    """What goes to the model itself is thinking, what goes to a declared tool a call; all else is content.

    A broken call is an error. A call that goes to nobody in particular counts if it is whole, and is content else.
    """

    markers = (START, MESSAGE, "<|eom|>", "<|eot|>")
    thinking_end = "<|eom|><|start|>assistant to=user<|message|>"

    def __init__(self, tools: Declared, *, thinking: bool = True) -> None:
        super().__init__(ends=("<|eom|>",), last=("<|eot|>",), heads=("to=", " to="), header=None)
        self._tools, self._shown = tools, thinking

    def _body(self, header: str) -> Wait[str]:
        recipient = header.partition("to=")[2].strip()
        self._in_thinking = recipient == "self"
        if self._in_thinking:
            return (yield from self._copy(self.out.thinking if self._shown else discard))
        if tool_name(self._tools, recipient) in self._tools:
            return (yield from self._call(recipient))
        if self._tools:
            yield from self._stray_call()
        return (yield from self._copy(self.out.content))

    def _call(self, recipient: str) -> Wait[str]:
        body, _ = yield from self.reader.take_until(Tags(_CALLS_END))
        emit_calls(lambda text: self._addressed(recipient, text), body, self.out.call, strict=True)
        return (yield from self._copy(discard))

    def _addressed(self, recipient: str, body: str) -> Iterator[Call]:
        head, opened, block = body.partition(_CALLS)
        if not opened or head.strip():
            raise Broken(f"no {_CALLS}")
        for call in parse_atem(self._tools, block):
            if call.name != tool_name(self._tools, recipient):
                raise Broken("it is addressed to another tool")
            yield call

    def _stray_call(self) -> Wait[None]:
        """Reads a call at the beginning of a body that goes to no tool."""
        space = yield from self.reader.skip_space(MAX_SPACE)
        if not (yield from self.reader.starts_with(Tags(_CALLS))):
            self.out.content(space)
            return
        block, closed = yield from self.reader.take_until(Tags(_CALLS_END))
        try:
            calls = list(parse_atem(self._tools, block)) if closed else []
        except Broken:
            calls = []
        if not calls or any(call.name not in self._tools for call in calls):
            self.out.content(space + _CALLS + block + closed)
            return
        emit_calls(lambda _: calls, block, self.out.call, strict=False)


def tool_name(tools: Declared, written: str) -> str:
    """The declared tool that ``written`` means: it itself, or ``f`` for "f.f", as the prompt's namespaces allow."""
    namespace, _, name = written.partition(".")
    return name if written not in tools and name in tools and name.partition(".")[0] == namespace else written


def parse_atem(tools: Declared, block: str) -> Iterator[Call]:
    """The calls between the tags for function calls. Raises Broken. Linear."""
    at = 0
    while invoke := _INVOKE.match(block, at):
        name = tool_name(tools, named(invoke.group(1)))
        at, arguments = invoke.end(), {}
        while parameter := _PARAMETER.match(block, at):
            end = block.find(_PARAMETER_END, parameter.end())
            if end < 0:
                raise Broken("a parameter is not closed")
            key = parameter.group(1)
            arguments[key] = convert(block[parameter.end() : end], tools.types(name, key))
            at = _after_space(block, end + len(_PARAMETER_END))
        if not block.startswith(_INVOKE_END, at):
            raise Broken("a call is not closed")
        at += len(_INVOKE_END)
        yield Call(name, arguments)
    if at == 0 or block[at:].strip():
        raise Broken("no call")


def _after_space(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at
