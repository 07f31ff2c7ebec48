"""Locks between processes, and between threads of one: ``flock`` on a file, gone with the process that held it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import store_errors
from .files import close, make_folders

__all__ = ["FileLock"]


class FileLock:
    """Any number of holders share it, or one has it alone. Not reentrant. Raises StoreError if it cannot be had."""

    def __init__(self, path: Path):
        self._path = path

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Wait until nobody else holds it."""
        with self._held(fcntl.LOCK_EX):
            yield

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Wait until nobody holds it alone."""
        with self._held(fcntl.LOCK_SH):
            yield

    @contextmanager
    def try_exclusive(self) -> Iterator[bool]:
        """Do not wait: yields whether it was free."""
        with self._held(fcntl.LOCK_EX | fcntl.LOCK_NB) as held:
            yield held

    @contextmanager
    def _held(self, operation: int) -> Iterator[bool]:
        with store_errors("lock the model store"):
            make_folders(self._path.parent)
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            yield _flock(fd, operation)
        finally:
            close(fd)


def _flock(fd: int, operation: int) -> bool:
    with store_errors("lock the model store"):
        try:
            fcntl.flock(fd, operation)
        except BlockingIOError:
            return False
    return True
