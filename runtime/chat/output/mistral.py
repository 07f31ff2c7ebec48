"""Mistral's calls: lists of JSON objects of the older models, names and arguments of the newer ones.

[TOOL_CALLS] [{"name": "f", "arguments": {"a": 1}}]
[TOOL_CALLS]f[ARGS]{"a": 1}[TOOL_CALLS]g[ARGS]{}
"""

from __future__ import annotations

from ...errors import OutputError, cut
from .base import Call, CallFormat
from .declared import Declared
from .forms import Emit, emit_calls
from .json_calls import parse_json_calls
from .reader import Reader, Tags, Wait
from .values import decode_object

CALLS, ARGS, CALL_ID = "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"
MAX_NAME = 512


class MistralList:
    """A list behind [TOOL_CALLS], which its last bracket closes. Broken ones are errors."""

    opens = (CALLS,)
    markers = (CALLS,)
    call_format: CallFormat | None = CallFormat(f"{CALLS} [", "]")

    def read(self, tag: str, reader: Reader, emit: Emit) -> Wait[str]:
        space = yield from reader.skip_space(limit=64)
        if (yield from reader.next_char()) not in ("[", "{"):
            return tag + space
        body, closed = yield from reader.balanced()
        if closed:
            emit_calls(parse_json_calls, body, emit, strict=True)
        return ""


class NameAndArguments:
    """The newer form. Only declared tools can be called; an unknown name and broken arguments are errors."""

    opens = (CALLS,)
    markers = (CALLS, ARGS, CALL_ID)
    call_format: CallFormat | None = None

    def __init__(self, tools: Declared) -> None:
        self._tools = tools

    def read(self, tag: str, reader: Reader, emit: Emit) -> Wait[str]:
        head, found = yield from reader.take_until(Tags(ARGS), MAX_NAME)
        yield from reader.skip_space()
        if not found or not (first := (yield from reader.next_char())):
            return ""
        name = head.partition(CALL_ID)[0].strip()
        if name not in self._tools:
            raise OutputError(f"tool '{cut(name)[1:-1]}' not found")
        body, closed = (yield from reader.balanced()) if first == "{" else ("", True)
        if closed:
            emit_calls(lambda text: [Call(name, decode_object(text))], body, emit, strict=True)
        return ""
