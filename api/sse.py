"""Server-sent events, as OpenAI's and Anthropic's streams use them, and the whole answers beside them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing
from typing import Any, Protocol, TypeVar

import msgspec
from aiohttp import web

from gristmill.runtime.errors import InvalidRequest

from .output import to_json
from .service import read_request
from .stream import Frames, Lines

__all__ = [
    "DATA_HEADERS",
    "EVENT_HEADERS",
    "EventMaker",
    "data_frame",
    "event_frame",
    "event_frames",
    "plain_json",
    "read_body",
]

DATA_HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
EVENT_HEADERS = {**DATA_HEADERS, "Connection": "keep-alive"}

T = TypeVar("T", bound=msgspec.Struct)


def data_frame(value: Any) -> bytes:
    """An event without a name."""
    return b"data: %s\n\n" % to_json(value)


def event_frame(event: dict[str, Any]) -> bytes:
    """An event with the name that is its ``type``."""
    return b"event: %s\ndata: %s\n\n" % (event["type"].encode(), to_json(event))


class EventMaker(Protocol):
    """Makes events of native lines; each has its name as ``type``."""

    def start(self) -> Iterable[dict[str, Any]]:
        """What is said before anything is known."""

    def of(self, line: dict[str, Any]) -> Iterable[dict[str, Any]]:
        """Of the next line."""


async def event_frames(lines: Lines, events: EventMaker) -> Frames:
    """What ``events`` makes of ``lines``. It starts with the first: an error before is answered with its status."""
    async with aclosing(lines):
        started = False
        async for line in lines:
            if not started:
                started = True
                for event in events.start():
                    yield event_frame(event)
            for event in events.of(line):
                yield event_frame(event)


def plain_json(value: Any) -> web.Response:
    """These answers end with a newline."""
    return web.Response(body=to_json(value) + b"\n", headers={"Content-Type": "application/json"})


async def read_body(request: web.Request, kind: type[T]) -> T:
    """The body as a ``kind``; an empty one is what these APIs' clients know as ``EOF``. Raises InvalidRequest."""
    try:
        return await read_request(request, kind)
    except InvalidRequest as error:
        raise (InvalidRequest("EOF") if str(error) == "missing request body" else error) from None
