"""A file into the server's store as a blob, over the API: hashed, and sent only if it is not there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from .client import Client
from .progress import Progress

_BLOCK_BYTES = 1 << 20
_ID_CHARS = len("sha256:") + 12


def digest_of(path: Path, progress: Progress) -> str:
    """``sha256:<hex>`` of a file. Raises OSError."""
    sha256 = hashlib.sha256()
    for block in _blocks(path, progress, f"reading {path.name}"):
        sha256.update(block)
    return f"sha256:{sha256.hexdigest()}"


def upload_file(client: Client, path: Path, progress: Progress) -> str:
    """Makes sure that the store has the file's content; returns its digest. Raises OSError.

    A server that works on the very folder of our settings gets the file itself, by a link, and not a copy of it.
    """
    seen = path.stat()
    digest = digest_of(path, progress)
    if not client.has_blob(digest) and not _linked(client, path, digest, seen):
        blocks = _blocks(path, progress, f"copying file {digest[:_ID_CHARS]}")
        client.upload_blob(digest, blocks, path.stat().st_size)
    return digest


def _linked(client: Client, path: Path, digest: str, seen: os.stat_result) -> bool:
    from ..store_id import store_id

    if client.models is None or not client.store_id or client.store_id != store_id(client.models):
        return False
    from ..store import Store, StoreError, parse_digest
    from ..store.linking import link_blob

    try:
        link_blob(Store(client.models).blobs, path, parse_digest(digest), seen)
    except StoreError:
        return False  # another user's store, say: the server writes it
    return client.has_blob(digest)


def _blocks(path: Path, progress: Progress, phase: str) -> Iterator[bytes]:
    total, done = path.stat().st_size, 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            done += len(block)
            progress.show(phase, done, total)
            yield block
