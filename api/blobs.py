"""HEAD and POST /api/blobs/{digest}: files on their way into the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from aiohttp import web

from .body import refuse_codings
from .errors import BodyTimeout
from .service import SERVICE
from .store.blobs import BlobWriter
from .store.digests import parse_digest
from .store_id import STORE_HEADER

P = ParamSpec("P")
T = TypeVar("T")

CHUNK_BYTES = 4 << 20
IDLE_S = 60.0


async def head_blob(request: web.Request) -> web.Response:
    """200 when the blob is there, else 404."""
    digest = parse_digest(request.match_info["digest"])
    found = await asyncio.to_thread(request.app[SERVICE].store.has_blob, digest)
    store_id = await asyncio.to_thread(request.app[SERVICE].store.identity)
    return web.Response(status=200 if found else 404, headers={STORE_HEADER: store_id})


async def post_blob(request: web.Request) -> web.Response:
    """Store the body under its digest: 201, or 200 when it was there already. 400 when it is something else."""
    store = request.app[SERVICE].store
    digest = parse_digest(request.match_info["digest"])
    if await asyncio.to_thread(store.has_blob, digest):
        return web.Response(status=200)
    refuse_codings(request)
    writer = await asyncio.to_thread(store.open_blob_writer)
    try:
        await _receive(request, writer)
        await _to_its_end(writer.commit, digest)
    finally:
        await asyncio.to_thread(writer.abort)
    return web.Response(status=201)


async def _receive(request: web.Request, writer: BlobWriter) -> None:
    """Hashing and writing happen in a thread; the event loop only moves chunks."""
    buffer = bytearray()
    while True:
        try:
            async with asyncio.timeout(IDLE_S):
                chunk = await request.content.readany()
        except TimeoutError:
            raise BodyTimeout(f"request body stopped coming for {IDLE_S:g} s") from None
        buffer += chunk
        if buffer and (len(buffer) >= CHUNK_BYTES or not chunk):
            await _to_its_end(writer.write, bytes(buffer))
            buffer.clear()
        if not chunk:
            return


async def _to_its_end(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What ``function`` returns, in a thread. Who is cancelled meanwhile goes on only when it has ended.

    A thread cannot be stopped, and the number of a file that is closed below it may be another file's next.
    """
    task = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise
