"""A blob that is not yet whole, in Ollama's files: either server can go on with what the other has begun.

    blobs/sha256-<hex>-partial        the bytes, each at its place, holes where none have come
    blobs/sha256-<hex>-partial-<n>    {"N":0,"Offset":0,"Size":104857600,"Completed":0}

A state file never says more than what was synced before. Whoever writes holds a lock on the data file. All calls block
on the disk and raise StoreError. Knows no network.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ..store import Digest, StoreError
from ..store.errors import store_errors
from ..store.files import TEMPORARY_PREFIX, close, make_folders, read_regular, sync_folder
from .limits import Limits

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ["Part", "PartialBlob", "is_disk_full", "plan"]

_MAX_STATE_BYTES = 4096
_MODE = 0o644
_READ_BYTES = 4 << 20


@dataclass(eq=False)
class Part:
    """Bytes ``offset`` to ``offset + size`` of a blob, of which the first ``completed`` are written."""

    n: int
    offset: int
    size: int
    completed: int = 0

    @property
    def is_complete(self) -> bool:
        return self.completed == self.size


class _State(msgspec.Struct, rename="pascal"):
    n: int
    offset: int
    size: int
    completed: int


def plan(total: int, limits: Limits) -> list[Part]:
    """The parts of a blob of ``total`` bytes, as Ollama cuts it."""
    size = min(max(total // limits.n_parts, limits.min_part_bytes), limits.max_part_bytes)
    return [Part(n, offset, min(size, total - offset)) for n, offset in enumerate(range(0, total, size))]


class PartialBlob:
    """The files of one unfinished blob; ours alone from ``open`` to ``close``."""

    def __init__(self, folder: Path, digest: Digest):
        self.folder, self.digest = folder, digest
        self._fd = -1
        self._saved: dict[int, int] = {}

    def open(self) -> bool:
        """Take hold of them. False while another process, or another download of this one, works on them."""
        with _writing():
            make_folders(self.folder)
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, _MODE)
            os.fchmod(self._fd, _MODE)
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return os.path.samestat(os.fstat(self._fd), os.stat(self.path, follow_symlinks=False))
            except (BlockingIOError, FileNotFoundError):
                return False  # somebody else has it, or has just finished it

    @property
    def path(self) -> Path:
        return self.folder / f"{self.digest.file_name}-partial"

    def load(self, total: int) -> list[Part]:
        """What an earlier run has left; where that does not make a blob of ``total`` bytes, nothing, and it is gone."""
        with _writing():
            n_there = os.fstat(self._fd).st_size
            parts = self._noted(total, n_there)
            if not parts:
                self._remove_states()  # or a crash would find them beside a file of the right length
        return parts

    def _noted(self, total: int, n_there: int) -> list[Part]:
        parts = sorted(self._states(), key=lambda part: part.offset)
        end = 0
        for i, part in enumerate(parts):
            is_whole = part.n == i and part.offset == end and part.size > 0 and 0 <= part.completed <= part.size
            if not is_whole or (part.completed and part.offset + part.completed > n_there):
                return []
            end += part.size
        return parts if end == total else []

    def prepare(self, total: int, parts: Iterable[Part]) -> None:
        """Make room: the file's full length, without its blocks. Raises StoreError if the disk has not so many."""
        missing = total - sum(part.completed for part in parts)
        with _writing():
            disk = os.statvfs(self.folder)
            if disk.f_bavail * disk.f_frsize < missing:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.ftruncate(self._fd, total)

    def write(self, offset: int, chunks: Iterable[bytes]) -> None:
        """All ``chunks``, one behind the other, from ``offset`` on. May be called from several threads."""
        with _writing():
            for chunk in chunks:
                view = memoryview(chunk)
                while view:
                    n_written = os.pwrite(self._fd, view, offset)
                    view, offset = view[n_written:], offset + n_written

    def save(self, parts: Iterable[tuple[Part, int]]) -> None:
        """Sync the data, then note for each part how many bytes were ``completed`` before that."""
        changed = [(part, completed) for part, completed in parts if self._saved.get(part.n) != completed]
        if not changed:
            return
        with _writing():
            os.fdatasync(self._fd)
            for part, completed in changed:
                state = msgspec.json.encode(_State(part.n, part.offset, part.size, completed))
                self._place(self._state_file(part.n), state)
                self._saved[part.n] = completed

    def forget(self) -> None:
        """Drop all that has come so far."""
        with _writing():
            self._remove_states()
            os.ftruncate(self._fd, 0)
        self._saved.clear()

    def trim(self, parts: Iterable[Part]) -> None:
        """Give back what lies behind the last byte that has come: the disk is full."""
        with suppress(OSError):
            os.ftruncate(self._fd, max((p.offset + p.completed for p in parts if p.completed), default=0))

    def hash_range(self, sha256: _Hash, offset: int, size: int) -> None:
        """Go on hashing with ``size`` bytes of the file: what is there now, not what was meant to be."""
        end = offset + size
        with store_errors("read from the model store"):
            while offset < end:
                data = os.pread(self._fd, min(_READ_BYTES, end - offset), offset)
                if not data:
                    raise OSError(f"{end} bytes were written, but the file has {offset}")
                sha256.update(data)
                offset += len(data)

    def publish(self, total: int) -> None:
        """The blob under its name, synced. The caller has checked its digest."""
        with _writing():
            os.fsync(self._fd)
            if os.fstat(self._fd).st_size != total:
                raise OSError(f"{total} bytes were written, but the file has {os.fstat(self._fd).st_size}")
            os.rename(self.path, self.folder / self.digest.file_name)
            sync_folder(self.folder)
            self._remove_states()

    def remove(self) -> None:
        """All of it. Best effort."""
        with suppress(OSError):
            self.path.unlink()
            self._remove_states()

    def tidy(self) -> None:
        """Remove the notes of a blob that is whole: a crash right after ``publish`` leaves them. Best effort."""
        with suppress(OSError, StoreError):
            if os.path.lexists(self._state_file(0)) and not os.path.lexists(self.path):
                self._remove_states()

    def close(self) -> None:
        """Let go of the files; what has not come yet can still come later."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            close(fd)

    def _states(self) -> Iterator[Part]:
        for file in self._state_files():
            try:
                state = msgspec.json.decode(read_regular(file, _MAX_STATE_BYTES), type=_State)
            except (OSError, ValueError):
                continue  # then the others do not make a whole
            yield Part(state.n, state.offset, state.size, state.completed)

    def _state_file(self, n: int) -> Path:
        return self.folder / f"{self.path.name}-{n}"

    def _state_files(self) -> list[Path]:
        """Those of the first parts first."""
        pattern = re.compile(re.escape(self.path.name) + "-([0-9]{1,6})")
        with store_errors("read from the model store"), os.scandir(self.folder) as entries:
            found = {match[1]: entry.path for entry in entries if (match := pattern.fullmatch(entry.name))}
        return [Path(found[n]) for n in sorted(found, key=int)]

    def _remove_states(self) -> None:
        for file in reversed(self._state_files()):  # while the first is there, some may be
            file.unlink(missing_ok=True)

    def _place(self, path: Path, data: bytes) -> None:
        temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}")  # the lock makes it ours alone
        with suppress(FileNotFoundError):
            temporary.unlink()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with open(temporary, "wb", opener=lambda name, _: os.open(name, flags, _MODE)) as file:
            file.write(data)
        os.rename(temporary, path)


def is_disk_full(error: StoreError) -> bool:
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def _writing() -> Iterator[None]:
    with store_errors("write to the model store"):
        yield
