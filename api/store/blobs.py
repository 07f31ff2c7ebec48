"""The blobs folder: files named by the SHA-256 of their content, each written once and never changed.

Knows nothing of models: which blobs are in use is for the store to say.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from gristmill.runtime.errors import InvalidRequest

from .digests import Digest, digest_of, parse_digest
from .errors import store_error, store_errors
from .files import PendingFile, make_folders, read_regular, sync_folder

__all__ = ["BlobFolder", "BlobWriter"]

_CHUNK_BYTES = 1 << 20
_EMPTY = digest_of(b"")


class BlobWriter:
    """One new blob. ``write`` until done, then ``commit``; leaving the ``with`` block without that removes it.

    The calls block on the disk: a server makes them in a thread, one at a time. Nothing is visible before
    ``commit`` returns. Raises StoreError when the disk fails.
    """

    def __init__(self, folder: Path):
        with store_errors("write to the model store"):
            make_folders(folder)
            self._file = PendingFile(folder)
        self._hash = hashlib.sha256()

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._file.size

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        with store_errors("write to the model store"):
            self._file.write(chunk)
        self._hash.update(chunk)

    def commit(self, expected: Digest | None = None, *, size: int | None = None) -> Digest:
        """Publish what was written and return its digest.

        Raises InvalidRequest ``digest mismatch, ...`` if that is not ``expected`` or not of ``size`` bytes.
        """
        digest = Digest(self._hash.hexdigest())
        try:
            if expected is not None and digest != expected:
                raise InvalidRequest(f'digest mismatch, expected "{expected}", got "{digest}"')
            if size is not None and size != self.size:
                raise InvalidRequest(f"size mismatch, expected {size} bytes, got {self.size}")
            with store_errors("write to the model store"):
                self._file.publish(digest.file_name)
        finally:
            self.abort()
        return digest

    def abort(self) -> None:
        """Remove what was written, unless it was committed. May be called any number of times."""
        self._file.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()


class BlobFolder:
    """``blobs/`` of a store. Digests are validated values, so no path made here leaves the folder."""

    def __init__(self, path: Path):
        self.path = path

    def file(self, digest: Digest) -> Path:
        return self.path / digest.file_name

    def size(self, digest: Digest) -> int | None:
        """Bytes of a blob, or None if there is none. A name that is no regular file, or an empty one, is none.

        Raises StoreError where that cannot be said.
        """
        try:
            info = os.stat(os.path.join(self.path, digest.file_name))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return None
            raise store_error("read from the model store", error) from error
        return info.st_size if stat.S_ISREG(info.st_mode) and (info.st_size or digest == _EMPTY) else None

    def writer(self) -> BlobWriter:
        return BlobWriter(self.path)

    def add(self, data: bytes) -> tuple[Digest, bool]:
        """Store ``data``. Returns its digest and whether it is new. Raises StoreError."""
        digest = digest_of(data)
        if self.size(digest) == len(data):
            self.touch(digest)
            return digest, False
        with self.writer() as writer:
            writer.write(data)
            return writer.commit(digest), True

    def add_file(self, source: Path, digest: Digest) -> bool:
        """Copy a local file in, if its content has this digest. Returns whether the blob is new.

        It is copied, not linked: whoever owns the source could change it later. Raises InvalidRequest for other
        content, StoreError when reading or writing fails.
        """
        with store_errors("read the file"):
            n_bytes = source.stat().st_size
        if self.size(digest) == n_bytes:
            self.touch(digest)
            return False
        with self.writer() as writer, store_errors("read the file"), open(source, "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                writer.write(chunk)
            writer.commit(digest)
        return True

    def adopt(self, path: Path) -> Digest:
        """Move a file that nobody writes to any more, in a folder of this store, to the name of its content.

        Raises StoreError.
        """
        with store_errors("write to the model store"):
            with open(path, "rb") as file:
                digest = Digest(hashlib.file_digest(file, "sha256").hexdigest())
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
            make_folders(self.path)
            if self.size(digest) == path.stat().st_size:
                self.touch(digest)
                path.unlink()
            else:
                os.rename(path, self.file(digest))
                sync_folder(self.path)
        return digest

    def touch(self, digest: Digest) -> None:
        """Make a blob young again, so that no prune takes it from whoever is about to refer to it."""
        with suppress(OSError):  # not ours, or a read-only store: then it will not be pruned by us either
            os.utime(self.file(digest), follow_symlinks=False)

    def read(self, digest: Digest, limit: int) -> bytes:
        """A small blob's verified content. Raises OSError: not there, too large, or not what its name says."""
        data = read_regular(self.file(digest), limit, follow=True)
        if digest_of(data) != digest:
            raise OSError("the content does not match the digest")
        return data

    def entries(self) -> Iterator[tuple[os.DirEntry[str], Digest | None]]:
        """All files of the folder, with their digest where the name is one. Raises OSError."""
        with suppress(FileNotFoundError), os.scandir(self.path) as entries:
            for entry in entries:
                digest = None
                with suppress(InvalidRequest):
                    digest = parse_digest(entry.name)
                yield entry, digest

    def remove(self, digest: Digest) -> None:
        """Raises OSError. Readers that have it open keep it."""
        self.file(digest).unlink(missing_ok=True)
