"""A file mapped into memory, read-only, as bytes and as torch tensors that share those bytes. Knows no file format."""

from __future__ import annotations

import errno
import mmap
import os
import stat
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from gristmill.kernels.lazy import torch

from ..errors import InvalidFile, ModelError, cut, is_shortage

if TYPE_CHECKING:
    import torch

__all__ = ["MappedFile"]


class MappedFile:
    """``data`` is the whole file. Slices of it and tensors over it keep the mapping alive after ``close``.

    Closing only drops our references. Unmapping by hand would be wrong: a tensor holds on to the object it was made
    from, but unlike a slice it does not hinder ``mmap.close``, and would then point to nothing.
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Raises InvalidFile, naming the file without its folder, for what is no regular file or cannot be read.

        Raises ModelError where it is the machine that fails: its disk, or no memory or open files are left.
        """
        self.name = Path(path).name
        try:
            # A FIFO would block on open and a device might never end, so the kind is looked at first.
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise InvalidFile(f"{cut(self.name)} is not a regular file")
            with open(path, "rb") as file:
                self.size = os.fstat(file.fileno()).st_size
                # An empty file cannot be mapped.
                content = mmap.mmap(file.fileno(), self.size, access=mmap.ACCESS_READ) if self.size else b""
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "bad path"
            raise _kind(error)(f"{cut(self.name)} cannot be read: {reason}") from None
        self.data = memoryview(content)
        self._tensor: torch.Tensor | None = None

    def view(self, offset: int, n_bytes: int) -> memoryview:
        """``n_bytes`` of the file from ``offset`` on, read-only. Raises ValueError past the end and when closed."""
        if offset + n_bytes > len(self.data):
            raise ValueError(f"{cut(self.name)} is closed, or has no {n_bytes} bytes at {offset}")
        return self.data[offset : offset + n_bytes]

    def tensor(self, offset: int, n_bytes: int) -> torch.Tensor:
        """``n_bytes`` of the file from ``offset`` on: uint8 (n_bytes,), sharing the mapping; it must not be written.

        Raises ValueError past the end and when closed.
        """
        view = self.view(offset, n_bytes)
        if not view:
            return torch.empty(0, dtype=torch.uint8)
        if self._tensor is None:
            with warnings.catch_warnings():
                # torch has no read-only tensors. Nobody writes to weights, and the mapping would fault, not the file.
                warnings.filterwarnings("ignore", message="The given buffer is not writable")
                self._tensor = torch.frombuffer(self.data, dtype=torch.uint8)
        return self._tensor[offset : offset + n_bytes]

    def release(self, offset: int, n_bytes: int) -> None:
        """Let the system take back the memory of these bytes. They stay readable, from the file."""
        start = offset + -offset % mmap.PAGESIZE
        size = (offset + n_bytes - start) // mmap.PAGESIZE * mmap.PAGESIZE
        if size > 0 and isinstance(self.data.obj, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            self.data.obj.madvise(mmap.MADV_DONTNEED, start, size)

    def close(self) -> None:
        """Unmap, unless a slice or a tensor is still there: then the last of them does. May be called twice."""
        self._tensor = None
        self.data = memoryview(b"")


def _kind(error: Exception) -> type[ModelError]:
    is_machine = isinstance(error, OSError) and (is_shortage(error) or error.errno == errno.EIO)
    return ModelError if is_machine else InvalidFile
