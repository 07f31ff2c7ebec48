"""Downloads by digest: who wants a blob that somebody else is fetching waits for that, and the last one to leave
ends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..store import Digest, Store
from .download import Download
from .limits import Limits
from .source import BlobSource
from .verify import Verified
from .workers import Workers

__all__ = ["Downloads"]


class Downloads:
    """All downloads of one server. Used inside its event loop."""

    def __init__(self, store: Store, limits: Limits, workers: Workers):
        self._store, self.limits, self._workers = store, limits, workers
        self._verified = Verified(store, workers)
        self._running: dict[Digest, Download] = {}
        self.is_stopped = False

    @property
    def verified(self) -> Verified:
        return self._verified

    @asynccontextmanager
    async def join(self, source: BlobSource) -> AsyncIterator[tuple[Download, bool]]:
        """The download of a blob, and whether it is fetched from this ``source`` because nobody else was at it.

        At the end of the block nobody waits here any more. If that was the last one, the download stops.
        """
        digest = source.blob.digest
        known = self._running.get(digest)
        is_ours = known is None or known.task.done()
        if known is None or known.task.done():
            known = Download(self._store, source, self.limits, self._workers, self._verified)
            self._running[digest] = known
        known.n_waiters += 1
        try:
            yield known, is_ours
        finally:
            known.n_waiters -= 1
            if not known.n_waiters:
                await self._end(known)

    def stop(self) -> None:
        """End all downloads; who waits for one is told. What has come is kept. No more are to be joined."""
        self.is_stopped = True
        for download in self._running.values():
            download.task.cancel()

    async def _end(self, download: Download) -> None:
        if self._running.get(download.digest) is download:
            del self._running[download.digest]  # who comes now starts anew, as soon as the files are free
        download.task.cancel()
        await asyncio.gather(download.task, return_exceptions=True)
