"""Crash-safe files: written under a temporary name, synced, renamed, the folder synced. Also their careful reading.

A name that others can see always has its whole content, whenever the process or the machine stops. Temporary files
stay locked while they are written, so that another process can tell one in use from one left behind.
Knows no digests and no manifests.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = [
    "TEMPORARY_PREFIX",
    "PendingFile",
    "close",
    "is_locked",
    "make_folders",
    "read_regular",
    "sync_folder",
    "temporary_folder",
]

TEMPORARY_PREFIX = ".tmp-"
_FILE_MODE, _FOLDER_MODE = 0o644, 0o755  # whatever the umask is: a store may be shared between users


class PendingFile:
    """A new file that ``publish`` gives its name. Leaving the ``with`` block before that removes it.

    All methods raise OSError; after one they must not be called again, except for ``discard``.
    """

    def __init__(self, folder: Path):
        self.path = folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
        self.size = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        self._fd = os.open(self.path, flags, _FILE_MODE)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.fchmod(self._fd, _FILE_MODE)
        except BaseException:
            self.discard()
            raise

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append all of ``data``."""
        view = memoryview(data).cast("B")
        while view:
            n_written = os.write(self._fd, view)
            self.size += n_written
            view = view[n_written:]

    def publish(self, name: str) -> Path:
        """Give the synced file its name in the same folder; what had this name is replaced in one step."""
        os.fsync(self._fd)
        n_there = os.fstat(self._fd).st_size
        if n_there != self.size:
            raise OSError(f"{self.size} bytes were written, but the file has {n_there}")
        target = self.path.with_name(name)
        os.rename(self.path, target)
        sync_folder(target.parent)
        self._close()
        return target

    def discard(self) -> None:
        """Remove the file, unless it was published. May be called at any time, any number of times."""
        if self._fd < 0:
            return
        try:
            self.path.unlink(missing_ok=True)  # the name is ours alone: after a rename there is nothing under it
        except OSError:
            pass  # a later prune finds it
        finally:
            self._close()

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        close(fd)


def close(fd: int) -> None:
    """What had to be written was synced before: what closing says changes nothing."""
    with suppress(OSError):
        os.close(fd)


def make_folders(folder: Path) -> None:
    """``folder`` and its missing parents, durably. Raises OSError."""
    if folder.is_dir():
        return
    make_folders(folder.parent)
    try:
        folder.mkdir()
        folder.chmod(_FOLDER_MODE)
    except FileExistsError:
        if not folder.is_dir():
            raise
    sync_folder(folder.parent)


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A new folder, locked while it is in use, removed at the end with all that is in it. Raises OSError."""
    make_folders(parent)
    folder = parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    folder.mkdir(0o700)
    fd = -1
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    finally:
        with suppress(OSError):  # it may raise even so; a later prune finds what is left
            shutil.rmtree(folder, ignore_errors=True)
        close(fd)


def read_regular(path: Path, limit: int, *, follow: bool = False) -> bytes:
    """The content of a regular file of at most ``limit`` bytes. Never blocks on a FIFO. Raises OSError."""
    flags = os.O_RDONLY | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise OSError("not a regular file")
        if info.st_size > limit:
            raise OSError(f"{info.st_size} bytes are over the limit of {limit}")
        return file.read(limit)


def is_locked(path: Path) -> bool:
    """Whether a process is still working on this temporary file or folder. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        close(fd)
    return False
