"""Whether a blob that lies in the store is what its name says; asked again only when its file has changed."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from contextlib import suppress
from typing import NamedTuple

from ..store import Digest, Layer, Store
from ..store.errors import store_errors
from .workers import Workers

__all__ = ["Verified"]

_STEP_BYTES = 64 << 20  # between two moments at which a caller who has gone is noticed
_READ_BYTES = 4 << 20
_log = logging.getLogger(__name__)


class _File(NamedTuple):
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


class Examined(NamedTuple):
    """``file`` is what lay there; None for none."""

    is_good: bool
    file: _File | None


class Verified:
    """Remembers, for the life of a server, which files it has read."""

    def __init__(self, store: Store, workers: Workers):
        self._store, self._workers = store, workers
        self._known: dict[Digest, _File] = {}

    def note(self, digest: Digest) -> None:
        """The blob has just been written and checked."""
        with suppress(OSError):
            self._known[digest] = self._file(digest)

    async def examine(self, blob: Layer) -> Examined:
        """Whether it is there with its size and content; it is young then, so that nobody prunes it.

        Raises StoreError if it is there and cannot be read.
        """
        digest = blob.digest
        file = await self._workers.run(self._found, digest)
        if file is None or file.size != blob.size:
            return Examined(False, file)
        if self._known.get(digest) != file and await self._hash(blob) != digest.hex:
            return Examined(False, file)
        await self._workers.run(self._store.blobs.touch, digest)
        self.note(digest)
        return Examined(True, file)

    def set_aside(self, digest: Digest, file: _File) -> None:
        """Take the name from ``file``, which is not what it says; a later prune removes it. Raises StoreError.

        What another server has put in its place since it was examined stays.
        """
        path = self._store.blobs.file(digest)
        aside = path.with_name(f"{path.name}-bad")
        with store_errors("write to the model store"), suppress(FileNotFoundError):
            os.rename(path, aside)
            if os.stat(aside).st_ino != file.inode:
                os.rename(aside, path)
            else:
                _log.warning("blob %s is not what its name says and was set aside", digest)
        self._known.pop(digest, None)

    async def _hash(self, blob: Layer) -> str:
        sha256 = hashlib.sha256()

        def some(offset: int) -> None:
            with store_errors("read from the model store"), open(self._store.blobs.file(blob.digest), "rb") as file:
                file.seek(offset)
                end = min(offset + _STEP_BYTES, blob.size)
                while offset < end and (data := file.read(min(_READ_BYTES, end - offset))):
                    sha256.update(data)
                    offset += len(data)

        for offset in range(0, blob.size, _STEP_BYTES):
            await self._workers.run(some, offset)
        return sha256.hexdigest()

    def _found(self, digest: Digest) -> _File | None:
        """None if there is none for certain: what only cannot be read now is not to be fetched again."""
        with store_errors("read from the model store"), suppress(FileNotFoundError):
            if stat.S_ISREG(os.stat(self._store.blobs.file(digest)).st_mode):
                return self._file(digest)
        return None

    def _file(self, digest: Digest) -> _File:
        info = os.stat(self._store.blobs.file(digest))
        return _File(info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
