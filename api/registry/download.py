"""One blob on its way into the store: parts side by side, a hash that follows them, and only then its name.

The hash is made of what the file holds, not of what the network brought, so a write that went wrong shows, too
(hardening D21). Knows no manifests and no waiting clients.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress

from ..store import Digest, Layer, Store, StoreError
from ..store.errors import StoreBusy
from .errors import Changed, RangesIgnored, RegistryError, Transient, first_error
from .limits import Limits
from .partial import Part, PartialBlob, is_disk_full, plan
from .retry import Tries
from .source import BlobSource
from .transport import Answer
from .verify import Verified
from .workers import Workers

__all__ = ["Download"]

_HASH_STEPS = 4  # writes that are hashed at once, at least
_HASH_BYTES = 16 << 20  # and at most: then the network is not what we wait for


class Download:
    """Starts at once. ``task`` ends when the blob is in the store and verified, or raises GristmillError.

    ``arrived`` is set when all bytes are there, and when nothing more will come. Cancelling the task keeps what was
    written for the next one.
    """

    def __init__(self, store: Store, source: BlobSource, limits: Limits, workers: Workers, verified: Verified):
        self._store, self._source, self._limits = store, source, limits
        self._workers, self._verified = workers, verified
        self._blob: Layer = source.blob
        self._parts: list[Part] = []
        self._restarted: set[Part] = set()
        self._rewound: set[Part] = set()
        self._grown = asyncio.Event()
        self._due = asyncio.Event()  # much has come since ``_noted`` bytes were
        self._noted = 0
        self._unhashed = 0  # bytes that the hash could take now
        self._is_cached = self._is_resumed = False
        self.arrived = asyncio.Event()
        self.n_waiters = 0
        self.task = asyncio.create_task(self._run())

    @property
    def digest(self) -> Digest:
        return self._blob.digest

    @property
    def total(self) -> int:
        return self._blob.size

    @property
    def completed(self) -> int:
        return self.total if self._is_cached else sum(part.completed for part in self._parts)

    async def _run(self) -> None:
        try:
            while not await self._is_there():
                file = PartialBlob(self._store.blobs.path, self.digest)
                try:
                    if await self._workers.run(file.open):
                        await self._fetch_and_publish(file)
                    else:  # another server is at it
                        await asyncio.sleep(self._limits.lock_poll_s)
                finally:
                    await self._workers.run(file.close)
        finally:
            self.arrived.set()

    async def _is_there(self) -> bool:
        """Whether the blob is in the store, and good; one that is not good is set aside."""
        if await self._workers.run(self._store.blobs.size, self.digest) == self.total:
            self._is_cached = True
            self.arrived.set()
        examined = await self._verified.examine(self._blob)
        if examined.is_good:
            await self._workers.run(PartialBlob(self._store.blobs.path, self.digest).tidy)
            return True
        self._is_cached = False
        self.arrived.clear()
        if examined.file is not None:
            await self._workers.run(self._verified.set_aside, self.digest, examined.file)
        return False

    async def _fetch_and_publish(self, file: PartialBlob) -> None:
        if await self._workers.run(self._store.blobs.size, self.digest) is not None:
            return await self._workers.run(file.remove)  # published while we opened the file
        try:
            found = await self._fetch(file)
            if found != self.digest and self._is_resumed:  # what an earlier run left may have been wrong
                await self._workers.run(file.forget)
                found = await self._fetch(file)
        except StoreError as error:
            if is_disk_full(error):
                await self._workers.run(file.trim, self._parts)
            raise
        if found != self.digest:
            await self._workers.run(file.remove)
            raise RegistryError(f"digest mismatch, file must be downloaded again: want {self.digest}, got {found}")
        await self._workers.run(file.publish, self.total)
        self._verified.note(self.digest)
        return None

    async def _fetch(self, file: PartialBlob) -> Digest:
        """All bytes into ``file``. Returns the digest of what is there then."""
        parts = await self._workers.run(file.load, self.total)
        self._is_resumed = any(part.completed for part in parts)
        parts = parts or plan(self.total, self._limits)
        try:
            return await self._fetch_parts(file, parts)
        except RangesIgnored:
            await self._workers.run(file.forget)
            return await self._fetch_parts(file, [Part(0, 0, self.total)])

    async def _fetch_parts(self, file: PartialBlob, parts: list[Part]) -> Digest:
        await self._workers.run(file.prepare, self.total, parts)
        self._parts = parts
        try:
            async with asyncio.TaskGroup() as group:
                keeping = group.create_task(self._keep(file))
                hashing = group.create_task(self._hash(file))
                streams = asyncio.Semaphore(1)
                widening = group.create_task(self._widen(streams))
                missing = [part for part in parts if not part.is_complete]
                fetching = [group.create_task(self._part(file, part, streams)) for part in missing]
                if fetching:
                    await asyncio.wait(fetching)
                widening.cancel()
                keeping.cancel()
                self.arrived.set()
        except BaseException as failed:
            with suppress(StoreError):  # then less of it is kept
                await self._checkpoint(file)
            if isinstance(failed, BaseExceptionGroup):
                raise first_error(failed) from None
            raise
        return hashing.result()

    async def _widen(self, streams: asyncio.Semaphore) -> None:
        """One stream more from time to time, as long as bytes come slower than they are hashed.

        Where they come faster, more streams would only bring what is to be hashed last, and nobody to hash it beside.
        """
        n_streams = 1
        while n_streams < self._limits.n_parts:
            await asyncio.sleep(self._limits.ramp_s)
            if self._unhashed < _HASH_BYTES:
                streams.release()
                n_streams += 1

    async def _part(self, file: PartialBlob, part: Part, streams: asyncio.Semaphore) -> None:
        tries = Tries(self._limits)
        async with streams:
            while not part.is_complete:
                before = part.completed
                try:
                    await self._stream(file, part)
                except Transient as error:
                    await tries.after(error, progress=part.completed - before)
                except Changed:
                    if part in self._restarted:
                        raise
                    self._restarted.add(part)
                    self._rewind(part)

    async def _stream(self, file: PartialBlob, part: Part) -> None:
        """What is missing of a part, over one connection. ``part.completed`` counts what has been written."""
        start, stop = part.offset + part.completed, part.offset + part.size
        come: list[bytes] = []
        try:
            async with self._source.open(start, stop) as answer:
                await self._receive(answer, file, part, come)
        except Transient:
            await self._write(file, part, come)  # what came before the connection broke is as good as the rest
            raise
        await self._write(file, part, come)
        if not part.is_complete:
            raise Transient(f"the answer ended {part.size - part.completed} bytes too early")

    async def _receive(self, answer: Answer, file: PartialBlob, part: Part, come: list[bytes]) -> None:
        """The body into the file, much at a time or every second, without a copy; what is left of it is in ``come``."""
        loop, limits = asyncio.get_running_loop(), self._limits
        written_at, n_bytes = loop.time(), 0
        async for chunk, _ in answer.content.iter_chunks():
            come.append(chunk)
            n_bytes += len(chunk)
            if part.completed + n_bytes > part.size:
                come.clear()
                self._rewind(part)
                raise Transient("more bytes came than were announced")
            if n_bytes >= limits.write_bytes or loop.time() - written_at > limits.write_s:
                await self._write(file, part, come)
                written_at, n_bytes = loop.time(), 0

    async def _write(self, file: PartialBlob, part: Part, come: list[bytes]) -> None:
        """All of ``come``, which is empty then."""
        await self._workers.run(file.write, part.offset + part.completed, come)
        part.completed += sum(map(len, come))
        come.clear()
        self._grown.set()
        if self.completed - self._noted >= self._limits.checkpoint_bytes:
            self._due.set()

    def _rewind(self, part: Part) -> None:
        """Begin a part anew: what came of it is not to be trusted."""
        part.completed = 0
        self._rewound.add(part)

    async def _keep(self, file: PartialBlob) -> None:
        """Sync and note what has come, every few seconds and where much has, so that little is left for the end."""
        while True:
            self._noted = self.completed
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.checkpoint_s):
                    await self._due.wait()
            self._due.clear()
            with suppress(StoreBusy):  # the next one notes more
                await self._checkpoint(file)

    async def _checkpoint(self, file: PartialBlob) -> None:
        await self._workers.run(file.save, [(part, part.completed) for part in self._parts])

    async def _hash(self, file: PartialBlob) -> Digest:
        """Follows the bytes in order as they come; once more from the beginning if some of them came twice."""
        sha256 = hashlib.sha256()
        for part in self._parts:
            done = 0
            while done < part.size:
                self._unhashed = part.completed - done
                if self._unhashed < min(_HASH_STEPS * self._limits.write_bytes, part.size - done):
                    self._grown.clear()
                    await self._grown.wait()
                    continue
                size = min(self._unhashed, _HASH_BYTES)
                await self._workers.run(file.hash_range, sha256, part.offset + done, size)
                done += size
        if not self._rewound:
            return Digest(sha256.hexdigest())
        self._rewound.clear()
        return await self._hash(file)
