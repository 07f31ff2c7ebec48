"""Pushing a model, as lines of progress: its blobs, each checked before a byte is sent, and then its manifest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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

    Closing it stops the upload that is under way and calls it off.
    """
    data = await workers.run(store.manifest_bytes, model)
    blobs = list({blob.digest: blob for blob in model.manifest.blobs}.values())
    for blob in blobs:
        if not await verified.is_good(blob):
            raise RegistryError(f"blob {blob.digest} is missing or damaged: pull or create the model again")
    for blob in blobs:
        async with _running(Upload(store, client, blob, workers)) as (upload, task):
            yield progress_line("pushing", blob.digest, blob.size, upload.completed)
            while not task.done():
                await asyncio.wait([task], timeout=client.limits.progress_s)
                yield progress_line("pushing", blob.digest, blob.size, upload.completed)
            task.result()
    yield {"status": "pushing manifest"}
    await send_manifest(client, data)
    yield {"status": "success"}


@asynccontextmanager
async def _running(upload: Upload) -> AsyncIterator[tuple[Upload, asyncio.Task[None]]]:
    task = asyncio.create_task(upload.run())
    try:
        yield upload, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
