"""Calls in Python's spelling: LFM2's lists, OLMo's lines.

<|tool_call_start|>[f(a='x'), g(b=1)]<|tool_call_end|>
<function_calls>
f(a="x")
g(b=1)
</function_calls>
"""

from __future__ import annotations

import re

from .base import Call, CallFormat
from .declared import Declared
from .forms import Delimited, Emit, emit_calls
from .literals import Literals
from .reader import MAX_SPACE, Reader, Tags, Wait
from .values import Broken, presentable

_NAME = re.compile(r"[\w.\-]{1,256}")


def olmo_calls() -> Delimited:
    """Broken calls are dropped, with all others in the same block."""
    return Delimited("<function_calls>", "</function_calls>", parse_python_calls)


class Lfm2Calls:
    """Broken calls are dropped. A list without tags counts if it begins with a declared tool and ends the answer."""

    markers = ("<|tool_call_start|>", "<|tool_call_end|>")
    call_format: CallFormat | None = None

    def __init__(self, tools: Declared) -> None:
        self._names = Tags(*(f"{name}(" for name in tools.names if _NAME.fullmatch(name)))
        self._tagged = Delimited(*self.markers, parse_python_calls)
        self.opens = ("<|tool_call_start|>", "[") if self._names.tags else ("<|tool_call_start|>",)

    def read(self, tag: str, reader: Reader, emit: Emit) -> Wait[str]:
        if tag != "[":
            return (yield from self._tagged.read(tag, reader, emit))
        head = yield from reader.starts_with(self._names)
        if not head:
            return tag
        body, closed = yield from reader.balanced("'\"", depth=2)
        body = tag + head + body
        space = yield from reader.skip_space(MAX_SPACE)
        if not closed or (yield from reader.next_char()):
            return body + space
        try:
            calls = parse_python_calls(body)
        except Broken:
            return body
        emit_calls(lambda _: calls, body, emit, strict=False)
        return ""


def parse_python_calls(body: str) -> list[Call]:
    """The calls of ``body``: in a list, or one after the other. Raises Broken. Linear."""
    text = Literals(body)
    in_list = text.take("[")
    calls = []
    while not text.ended() and not (in_list and text.take("]")):
        calls.append(_call(text))
        text.take(",")
    if not text.ended():
        raise Broken(f"more than calls, from character {text.at}")
    return calls


def _call(text: Literals) -> Call:
    text.take("")
    name = _NAME.match(text.text, text.at)
    if name is None:
        raise Broken(f"no function name at character {text.at}")
    text.at = name.end()
    if not text.take("("):
        raise Broken(f'"(" is missing at character {text.at}')
    return Call(name.group(), presentable(text.mapping("=", ")")))
