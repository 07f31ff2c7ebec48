"""Pulling a model, as lines of progress: its manifest, its blobs, and only when all of them are good, its name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress

from gristmill.runtime.errors import GristmillError, InvalidFile, UnsupportedModel

from ..store import MediaType, Store
from ..store.errors import store_error
from ..store.manifests import decode_config
from .client import RegistryClient
from .documents import ReceivedManifest, fetch_manifest
from .download import Download
from .errors import RegistryError
from .progress import Lines, progress_line
from .shared import Downloads
from .source import BlobSource
from .workers import Workers

__all__ = ["pull_model"]

_GGUF = (MediaType.MODEL, MediaType.PROJECTOR, MediaType.ADAPTER, MediaType.DRAFT)


async def pull_model(store: Store, client: RegistryClient, downloads: Downloads, workers: Workers) -> Lines:
    """Yields progress objects, at last ``{"status": "success"}``. Raises RegistryError, StoreError.

    Closing it ends the downloads that nobody else waits for; what has come is kept for the next time.
    """
    yield {"status": "pulling manifest"}
    async with _leased(store, workers):
        received = await fetch_manifest(client)
        async with aclosing(_fetch_blobs(received, client, downloads)) as lines:
            async for line in lines:
                yield line
        await workers.run(_check_contents, store, received)
        yield {"status": "writing manifest"}
        replaced = await workers.run(store.put_manifest, client.repository.name, received.manifest, data=received.data)
    if replaced and not store.keep_unused:
        yield {"status": "removing unused layers"}
        await workers.run(store.remove_unused, replaced)
    yield {"status": "success"}


@asynccontextmanager
async def _leased(store: Store, workers: Workers) -> AsyncIterator[None]:
    lease = store.lease()
    await workers.run(lease.__enter__)
    try:
        yield
    finally:
        lease.__exit__(None, None, None)


async def _fetch_blobs(received: ReceivedManifest, client: RegistryClient, downloads: Downloads) -> Lines:
    """One after the other, each with its own streams; hashing goes on behind."""
    async with AsyncExitStack() as stack:
        waiting = []
        for blob in received.blobs:
            fetch = _Fetch(BlobSource(client, blob), downloads, stack)
            waiting.append(fetch)
            async with aclosing(fetch.lines(until_verified=False)) as lines:
                async for line in lines:
                    yield line
        yield {"status": "verifying sha256 digest"}
        for fetch in waiting:
            async with aclosing(fetch.lines(until_verified=True)) as lines:
                async for line in lines:
                    yield line


class _Fetch:
    """One blob that a pull waits for. If the download is another pull's and fails, ours is still to be tried."""

    def __init__(self, source: BlobSource, downloads: Downloads, stack: AsyncExitStack):
        self._source, self._downloads, self._stack = source, downloads, stack
        self._download: Download | None = None
        self._is_ours = False

    async def lines(self, *, until_verified: bool) -> Lines:
        """Progress until all bytes are there, or the blob is verified. Raises RegistryError, StoreError."""
        while True:
            download = await self._joined()
            try:
                async with aclosing(self._watch(download, until_verified=until_verified)) as lines:
                    async for line in lines:
                        yield line
                return
            except GristmillError:
                if self._is_ours or self._downloads.is_stopped:
                    raise
                self._download = None

    async def _joined(self) -> Download:
        if self._download is not None:
            return self._download
        joined = self._downloads.join(self._source)
        self._download, self._is_ours = download, _ = await self._stack.enter_async_context(joined)
        return download

    async def _watch(self, download: Download, *, until_verified: bool) -> Lines:
        pause_s = self._downloads.limits.progress_s
        while not download.task.done() and (until_verified or not download.arrived.is_set()):
            if download.arrived.is_set():
                await asyncio.wait([download.task], timeout=pause_s)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await download.arrived.wait()
                    continue
            yield progress_line("pulling", download.digest, download.total, download.completed)
        if self._downloads.is_stopped:
            raise RegistryError("the server is stopping; the next pull goes on where this one ends")
        if download.task.done():
            download.task.result()
        if not until_verified:
            yield progress_line("pulling", download.digest, download.total, download.completed)


def _check_contents(store: Store, received: ReceivedManifest) -> None:
    """Config and headers of weights, before they get a name. Raises RegistryError for what is none, StoreError."""
    from gristmill.runtime.checkpoint import read_gguf_header

    config = received.manifest.config
    try:
        decode_config(store.blobs.read(config.digest, config.size))
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno:
            raise store_error("read from the model store", error) from error
        raise RegistryError(f"the model's config cannot be used: {error}") from None
    for layer in received.manifest.of_type(*_GGUF):
        try:
            read_gguf_header(store.blob_path(layer.digest))
        except (InvalidFile, UnsupportedModel) as error:
            raise RegistryError(f"the model's weights cannot be used: {error}") from None
