"""Pushing a model, as lines of progress: its blobs, each checked before a byte is sent, and then its manifest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from ..store import Store, StoredModel
from .client import RegistryClient
from .documents import send_manifest
from .errors import RegistryError
from .progress import Lines, progress_line
from .upload import Upload
from .verify import Verified
from .workers import Workers

__all__ = ["push_model"]


async def push_model(
    store: Store, model: StoredModel, client: RegistryClient, verified: Verified, workers: Workers
) -> Lines:
    """Yields progress objects, at last ``{"status": "success"}``. Raises RegistryError, StoreError.

    Closing it stops the uploads that are under way and calls them off.
    """
    data = await workers.run(store.manifest_bytes, model)
    blobs = list({blob.digest: blob for blob in model.manifest.blobs}.values())
    for blob in blobs:
        if not (await verified.examine(blob)).is_good:
            raise RegistryError(f"blob {blob.digest} is missing or damaged: pull or create the model again")
    async with aclosing(_send_blobs([Upload(store, client, blob, workers) for blob in blobs], client)) as lines:
        async for line in lines:
            yield line
    yield {"status": "pushing manifest"}
    await send_manifest(client, data)
    yield {"status": "success"}


async def _send_blobs(uploads: list[Upload], client: RegistryClient) -> Lines:
    """Some at a time. A line for each that begins, moves on or ends; the first that fails ends all."""
    limits = client.limits
    said: dict[Upload, int] = {}
    async with _running(uploads, limits.n_uploads) as running:
        while running:
            done, running = await asyncio.wait(running, timeout=limits.progress_s, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            for upload in uploads:
                if upload.is_begun and said.get(upload) != upload.completed:
                    said[upload] = upload.completed
                    yield progress_line("pushing", upload.blob.digest, upload.blob.size, upload.completed)


@asynccontextmanager
async def _running(uploads: list[Upload], n_at_once: int) -> AsyncIterator[set[asyncio.Task[None]]]:
    streams = asyncio.Semaphore(n_at_once)

    async def run(upload: Upload) -> None:
        async with streams:
            await upload.run()

    tasks = {asyncio.create_task(run(upload)) for upload in uploads}
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
