"""Errors of the store. They belong into the tree of ``gristmill.runtime.errors``:

InvalidRequest
└── ModelNotFound     no such model; ``name`` as the caller wrote it
ModelError
└── CorruptManifest   the model is there and cannot be used
GristmillError
└── StoreError        the machine failed us: full disk, no permission, read-only (5xx)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gristmill.runtime.errors import GristmillError, InvalidRequest, ModelError, cut

__all__ = ["CorruptManifest", "ModelNotFound", "StoreError", "store_errors"]


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
    """A file operation in the store failed; the message has the system's reason and no path."""


@contextmanager
def store_errors(action: str) -> Iterator[None]:
    """OSErrors become StoreErrors ``cannot <action>: <the system's reason>``."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise StoreError(f"cannot {action}: {reason[:1].lower()}{reason[1:]}") from error
