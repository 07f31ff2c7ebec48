"""A file of the user's as a blob without a second copy on the disk, where the file system can.

    reflink    a clone that shares its blocks until one of the two changes (Btrfs, XFS, APFS)
    hard link  a second name; who writes into the file later changes the blob, which ``is_unchanged`` notices
    copy       where neither works

The file itself is never written to.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from .blobs import BlobFolder
from .digests import Digest
from .errors import store_errors
from .files import TEMPORARY_PREFIX, make_folders, sync_folder

__all__ = ["link_blob"]

_FICLONE = 0x40049409  # linux/fs.h


def link_blob(blobs: BlobFolder, source: Path, digest: Digest, seen: os.stat_result) -> str:
    """Make ``source``, whose content has ``digest``, a blob; returns how: reflink, hard link, copy, or there.

    ``seen`` is what the file's stat was before it was read for the digest. Raises StoreError, and OSError with a
    text where the file has changed since.
    """
    if blobs.size(digest) == seen.st_size:
        blobs.touch(digest)
        return "there"
    with store_errors("write to the model store"):
        make_folders(blobs.path)
        temporary = blobs.path / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
        try:
            way = _first_that_works(source, temporary)
            if not is_unchanged(source, seen):
                raise OSError("the file was changed while it was read")
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.rename(temporary, blobs.file(digest))
            sync_folder(blobs.path)
        finally:
            temporary.unlink(missing_ok=True)
    return way


def is_unchanged(source: Path, seen: os.stat_result) -> bool:
    """Whether a file is still what it was when ``seen`` was taken, as far as its times and size tell."""
    now = source.stat()
    return (now.st_ino, now.st_size, now.st_mtime_ns) == (seen.st_ino, seen.st_size, seen.st_mtime_ns)


def _first_that_works(source: Path, target: Path) -> str:
    ways: list[tuple[str, Callable[[Path, Path], None]]] = [("reflink", _reflink), ("hard link", _hard_link)]
    for name, way in ways:
        with suppress(OSError):
            way(source, target)
            return name
        target.unlink(missing_ok=True)
    shutil.copyfile(source, target)
    os.chmod(target, 0o644)
    return "copy"


def _reflink(source: Path, target: Path) -> None:
    with open(source, "rb") as reading, open(target, "xb") as writing:
        os.fchmod(writing.fileno(), 0o644)
        fcntl.ioctl(writing.fileno(), _FICLONE, reading.fileno())


def _hard_link(source: Path, target: Path) -> None:
    """Of the file itself where ``source`` is a symbolic link, and only where the server may read it."""
    os.link(source.resolve(), target)
