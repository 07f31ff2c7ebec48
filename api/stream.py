"""Streamed answers: one JSON object per line, or other frames, as they come.

Up to the first line, an error is a normal JSON error with its status. After it the status has been sent, so the
error is one last line. Knows nothing of what the lines say.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

from aiohttp import web

from gristmill.runtime.errors import GristmillError

from .errors import error_response, error_text
from .output import json_response, to_json

__all__ = ["Frames", "Lines", "send_frames", "send_last", "send_lines"]

log = logging.getLogger(__name__)

WRITE_STALL_S = 60.0  # a client that takes nothing for so long is gone
_NDJSON = {"Content-Type": "application/x-ndjson"}

Lines = AsyncGenerator[dict[str, Any], None]
Frames = AsyncGenerator[bytes, None]


class _ClientGone(Exception):
    """Nobody reads any more."""


class _Streamed(web.StreamResponse):
    """Its head goes out with the first frame, which is there already: in one packet, for one wake-up of the client."""

    _send_headers_immediately = False


async def send_lines(request: web.Request, lines: Lines) -> web.StreamResponse:
    """Send ``lines`` as NDJSON, each at once; ``lines`` is closed at the end, whatever happens."""

    async def frames() -> Frames:
        async with aclosing(lines):
            async for line in lines:
                yield to_json(line) + b"\n"

    def last_frame(error: Exception) -> bytes:
        return to_json({"error": error_text(error)}) + b"\n"

    try:
        return await send_frames(request, frames(), _NDJSON, last_frame)
    except GristmillError as error:
        return error_response(error, "application/json", path=request.path)


async def send_frames(
    request: web.Request, frames: Frames, headers: Mapping[str, str], last_frame: Callable[[Exception], bytes]
) -> web.StreamResponse:
    """Send ``frames``, each at once, and close them at the end. An error before the first of them is raised.

    After it the status has been sent, and ``last_frame`` makes of an error what the client is told.
    """
    async with aclosing(frames):
        first = await anext(frames, b"")
        response = _Streamed(headers=headers)
        try:
            await response.prepare(request)
            await _write(request, response, first)
            await _send_rest(request, response, frames, last_frame)
            await response.write_eof()
        except (_ClientGone, ConnectionError) as error:
            log.debug("%s: the client has gone: %s", request.path, error)
        return response


async def send_last(lines: Lines) -> web.Response:
    """Only the last of ``lines``, as one JSON object. An error is raised."""
    last: dict[str, Any] = {}
    async with aclosing(lines):
        async for last in lines:  # noqa: B007 - only the last one counts, and there may be very many
            pass
    return json_response(last)


async def _send_rest(
    request: web.Request, response: web.StreamResponse, frames: Frames, last_frame: Callable[[Exception], bytes]
) -> None:
    while True:
        try:
            frame = await anext(frames, None)
        except Exception as error:
            await _write(request, response, last_frame(error))
            return
        if frame is None:
            return
        await _write(request, response, frame)


async def _write(request: web.Request, response: web.StreamResponse, frame: bytes) -> None:
    """Waits while the client is slow: at most a socket buffer is held for it."""
    if not frame:
        return
    if request.transport is not None and not request.transport.get_write_buffer_size():
        await response.write(frame)  # does not wait: a timeout would cost more than all the rest
        return
    try:
        async with asyncio.timeout(WRITE_STALL_S):
            await response.write(frame)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise _ClientGone(f"it took nothing for {WRITE_STALL_S:g} s") from None
