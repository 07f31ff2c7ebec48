"""Streamed answers: one JSON object per line, as it comes.

Up to the first line, an error is a normal JSON error with its status. After it the status has been sent, so the
error is one last line. Knows nothing of what the lines say.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from aiohttp import web

from gristmill.runtime.errors import GristmillError

from .errors import error_response, error_text
from .output import json_response, to_json

__all__ = ["Lines", "joined", "send_last", "send_lines"]

log = logging.getLogger(__name__)

WRITE_STALL_S = 60.0  # a client that takes nothing for so long is gone
_NDJSON = {"Content-Type": "application/x-ndjson"}

Lines = AsyncGenerator[dict[str, Any], None]


class _ClientGone(Exception):
    """Nobody reads any more."""


async def send_lines(request: web.Request, lines: Lines) -> web.StreamResponse:
    """Send ``lines`` as NDJSON, each at once; ``lines`` is closed at the end, whatever happens."""
    async with aclosing(lines):
        try:
            first = await anext(lines, None)
        except GristmillError as error:
            return error_response(error, "application/json", path=request.path)
        response = web.StreamResponse(headers=_NDJSON)
        try:
            await response.prepare(request)
            if first is not None:
                await _write(request, response, first)
            await _send_rest(request, response, lines)
            await response.write_eof()
        except (_ClientGone, ConnectionError) as error:
            log.debug("%s: the client has gone: %s", request.path, error)
        return response


async def joined(lines: Lines, text: Callable[[dict[str, Any]], str]) -> tuple[dict[str, Any], str]:
    """(everything but the text from the last line, all lines' ``logprobs`` with it; the texts of all lines together)"""
    texts, logprobs, last = [], [], {}
    async for last in lines:
        texts.append(text(last))
        logprobs += last.get("logprobs", [])
    return {**last, **({"logprobs": logprobs} if logprobs else {})}, "".join(texts)


async def send_last(lines: Lines) -> web.Response:
    """Only the last of ``lines``, as one JSON object. An error is raised."""
    async with aclosing(lines):
        answers = [line async for line in lines]
    return json_response(answers[-1])


async def _send_rest(request: web.Request, response: web.StreamResponse, lines: Lines) -> None:
    while True:
        try:
            line = await anext(lines, None)
        except Exception as error:
            await _write(request, response, {"error": error_text(error)})
            return
        if line is None:
            return
        await _write(request, response, line)


async def _write(request: web.Request, response: web.StreamResponse, line: dict[str, Any]) -> None:
    """Waits while the client is slow: at most a socket buffer is held for it."""
    try:
        async with asyncio.timeout(WRITE_STALL_S):
            await response.write(to_json(line) + b"\n")
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise _ClientGone(f"it took nothing for {WRITE_STALL_S:g} s") from None
