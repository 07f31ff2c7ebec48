"""What a store does at start: finish what crashes left, and remove what nothing needs.

Only things older than an hour go, so that another process may work on the same store. Never raises for a single
entry: what cannot be removed is logged and stays.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Set
from contextlib import suppress
from pathlib import Path

from .blobs import BlobFolder
from .digests import Digest
from .files import TEMPORARY_PREFIX, is_locked, make_folders
from .manifest_folder import ManifestFolder

__all__ = ["prune"]

GRACE_S = 3600
_log = logging.getLogger(__name__)


def prune(root: Path, blobs: BlobFolder, manifests: ManifestFolder, used: Set[Digest] | None) -> None:
    """``used`` are the blobs that manifests name; None: not known for sure, so all are kept.

    The caller holds the store's locks. Raises OSError if the store cannot be written or listed at all.
    """
    make_folders(blobs.path)
    make_folders(manifests.path)
    _rename_old_blobs(blobs)
    for path in [*manifests.temporaries(), *_scratch(root), *_named(blobs.path)]:
        if _is_old(path) and not _in_use(path):
            _remove(path)
    if used is None:
        return _log.info("unused blobs are kept")
    for entry, digest in list(blobs.entries()):
        if entry.name.startswith(TEMPORARY_PREFIX) or digest in used or not entry.is_file(follow_symlinks=False):
            continue
        if _is_old(Path(entry.path)) and not _in_use(Path(entry.path)):  # a download of another server is locked
            _remove(Path(entry.path))
    manifests.remove_empty_folders()
    return None


def _rename_old_blobs(blobs: BlobFolder) -> None:
    """``sha256:<hex>``, the names of very old stores, to ``sha256-<hex>``."""
    for entry, digest in list(blobs.entries()):
        if digest is None or entry.name == digest.file_name or not entry.is_file(follow_symlinks=False):
            continue
        if not os.path.lexists(blobs.file(digest)):
            with suppress(OSError):
                os.rename(entry.path, blobs.file(digest))


def _scratch(root: Path) -> list[Path]:
    with suppress(OSError):
        return list((root / "tmp").iterdir())
    return []


def _named(folder: Path) -> list[Path]:
    """Our own temporary files in a folder."""
    return [path for path in folder.iterdir() if path.name.startswith(TEMPORARY_PREFIX)]


def _is_old(path: Path) -> bool:
    """Whether it has not changed for an hour. A time in the future is now."""
    with suppress(OSError):
        return time.time() - path.lstat().st_mtime > GRACE_S
    return False


def _in_use(path: Path) -> bool:
    with suppress(OSError):
        return is_locked(path)
    return True


def _remove(path: Path) -> None:
    try:
        size = path.lstat().st_size
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError as error:
        return _log.warning("%s cannot be removed: %s", path.name, error.strerror)
    return _log.info("removed %s, unused, %d bytes", path.name, size)
