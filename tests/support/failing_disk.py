"""A disk that fails once: the k-th system call below a folder raises an error of the system's.

Seen are calls through ``os`` and ``open``, of all threads, on paths below the folder and on files open there.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

WRITING = frozenset(("open", "write", "pwrite", "fsync", "fdatasync", "ftruncate", "close"))
CHANGING = WRITING | {"rename", "link", "symlink", "mkdir", "fchmod", "chmod", "utime"}
OPENING = frozenset(("open", "scandir", "listdir"))
REMOVING = frozenset(("unlink", "rmdir"))
READING = frozenset(("stat", "fstat", "lstat", "read", "pread", "scandir"))

# Which calls an error can come from.
SOURCES = {
    errno.ENOSPC: CHANGING,
    errno.EDQUOT: CHANGING,
    errno.EROFS: CHANGING | REMOVING - {"close", "fsync"},
    errno.EIO: CHANGING | REMOVING | READING,
    errno.ENOMEM: OPENING | READING | {"mkdir", "rename"},
    errno.EMFILE: OPENING,
}


class FailingDisk:
    """``calls`` are the names of all that were seen, ``hit`` that of the one which failed, or nothing."""

    def __init__(self, folder: Path, k: int, number: int):
        self.folder, self.k, self.number = str(folder), k, number
        self.calls: list[str] = []
        self.hit = ""

    def _is_below(self, target: object) -> bool:
        if isinstance(target, int):
            try:
                target = os.readlink(f"/proc/self/fd/{target}")
            except OSError:
                return False
        return isinstance(target, str | Path) and str(target).startswith(self.folder)

    def wrap(self, name: str, call: Any) -> Any:
        def wrapped(target: Any = ".", *args: Any, **kwargs: Any) -> Any:
            if not self._is_below(target):
                return call(target, *args, **kwargs)
            self.calls.append(name)
            if len(self.calls) != self.k:
                return call(target, *args, **kwargs)
            self.hit = name
            if name == "close":
                call(target)  # a file is closed, whatever close says
            raise OSError(self.number, os.strerror(self.number), str(target))

        return wrapped


@contextmanager
def failing_disk(folder: Path, k: int, number: int) -> Iterator[FailingDisk]:
    """The k-th call, counted from 1, of those that can fail with ``number`` does so."""
    disk = FailingDisk(folder, k, number)
    with pytest.MonkeyPatch.context() as patch:
        for name in sorted(SOURCES[number]):
            patch.setattr(os, name, disk.wrap(name, getattr(os, name)))
        if "open" in SOURCES[number]:
            opened = disk.wrap("open", builtins.open)
            patch.setattr(builtins, "open", opened)
            patch.setattr(io, "open", opened)
        yield disk
