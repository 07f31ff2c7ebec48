"""Errors of the store. They belong into the tree of ``gristmill.runtime.errors``:

InvalidRequest
└── ModelNotFound     no such model; ``name`` as the caller wrote it
ModelError
└── CorruptManifest   the model is there and cannot be used
GristmillError
└── StoreError        the machine failed us: full disk, no permission, read-only (5xx)
    └── StoreBusy     for the moment: too many open files, no memory (503)
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from gristmill.runtime.errors import GristmillError, InvalidRequest, ModelError, cut, is_shortage

__all__ = ["CorruptManifest", "ModelNotFound", "StoreBusy", "StoreError", "store_error", "store_errors"]

_ROOM = "make room on the disk of the models and try again"
_RIGHTS = "its files must be those of the user that runs this"
_WAYS_OUT = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EMFILE: "try again, or raise the limit of open files (ulimit -n)",
    errno.ENFILE: "try again when other programs have closed some",
    errno.ENOMEM: "try again when other programs need less of it",
    errno.EIO: "the disk may be failing: see the system's log, and run 'gristmill verify'",
    errno.EROFS: "mount it for writing, or set OLLAMA_MODELS to another folder",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
}


class ModelNotFound(InvalidRequest):
    """There is no model of this name. ``name`` is the text that was asked for (404; the wording is the endpoint's)."""

    def __init__(self, name: str):
        super().__init__(f"model {cut(name)} not found")
        self.name = name


class CorruptManifest(ModelError):
    """A manifest that cannot be read, or one that names blobs that are not there."""

    def __init__(self, name: str, reason: str):
        super().__init__(f"manifest is corrupt: model {cut(name)}: {reason}; create or pull it again, or remove it")
        self.reason = reason


class StoreError(GristmillError):
    """A file operation in the store failed; the message has the system's reason, a way out, and no path."""


class StoreBusy(StoreError):
    """The machine is short of something that a file operation needs; nothing is wrong with the store."""


def store_error(action: str, error: OSError) -> StoreError:
    """``cannot <action>: <the system's reason>; <what to do>``."""
    reason = error.strerror or str(error) or type(error).__name__
    way_out = _WAYS_OUT.get(error.errno or 0)
    text = f"cannot {action}: {reason[:1].lower()}{reason[1:]}{f'; {way_out}' if way_out else ''}"
    return StoreBusy(text) if is_shortage(error) else StoreError(text)


@contextmanager
def store_errors(action: str) -> Iterator[None]:
    """OSErrors become StoreErrors, see ``store_error``."""
    try:
        yield
    except OSError as error:
        raise store_error(action, error) from error
