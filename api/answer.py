"""What a request is answered with: native lines, whoever asked. The other APIs translate these lines.

A line is what ``/api/generate`` or ``/api/chat`` puts on one line of a stream; the last one has ``done``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from .stream import Lines

__all__ = ["Answer", "one_line", "whole_chat", "whole_generate"]

Line = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """``lines`` are made while they are read, and must be closed; errors of the run are raised between them.

    ``is_stream`` is false where there is one line whatever the client prefers: a model loaded, a prompt shown.
    """

    lines: Lines
    is_stream: bool = True


def one_line(line: Line) -> Answer:
    """An answer of a single line that is known already."""

    async def lines() -> Lines:
        yield line

    return Answer(lines(), is_stream=False)


async def whole_generate(lines: Lines) -> Line:
    """All lines of ``/api/generate`` as one: texts joined, the rest of the last one."""
    response, thinking, calls, logprobs, last = [], [], [], [], {}
    async for last in _closing(lines):
        response.append(last["response"])
        thinking.append(last.get("thinking", ""))
        calls += last.get("tool_calls", [])
        logprobs += last.get("logprobs", [])
    more = _kept(thinking="".join(thinking), tool_calls=calls, logprobs=logprobs)
    return {**last, "response": "".join(response), **more}


async def whole_chat(lines: Lines) -> Line:
    """All lines of ``/api/chat`` as one: the message's texts joined, its calls collected, the rest of the last one."""
    content, thinking, calls, logprobs, last = [], [], [], [], {}
    async for last in _closing(lines):
        message = last["message"]
        content.append(message["content"])
        thinking.append(message.get("thinking", ""))
        calls += message.get("tool_calls", [])
        logprobs += last.get("logprobs", [])
    more = _kept(thinking="".join(thinking), tool_calls=calls)
    message = {"role": last["message"]["role"], "content": "".join(content), **more}
    return {**last, "message": message, **_kept(logprobs=logprobs)}


async def _closing(lines: Lines) -> AsyncIterator[Line]:
    async with aclosing(lines):
        async for line in lines:
            yield line


def _kept(**fields: Any) -> Line:
    """``fields`` without the empty ones."""
    return {name: value for name, value in fields.items() if value}
