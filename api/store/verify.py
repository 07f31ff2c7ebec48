"""Whether a store is what it should be: every model whole, every blob what its name says, nothing left lying about.

Reads only. Tests and operators use the same check, after crashes as at any time.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .digests import Digest
from .errors import CorruptManifest, StoreError
from .files import TEMPORARY_PREFIX
from .manifests import Layer
from .prune import GRACE_S
from .store import Store

__all__ = ["Problem", "verify_store"]

Kind = Literal["manifest", "blob", "leftover"]
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Problem:
    """``name``: a model, a blob's digest or a file's name. ``models`` need what is wrong."""

    kind: Kind
    name: str
    what: str
    models: tuple[str, ...] = ()


def verify_store(
    store: Store, *, fast: bool = False, on_progress: OnProgress = lambda done, total: None
) -> list[Problem]:
    """Everything that is wrong. ``fast``: sizes of blobs only, no hashing. ``on_progress(done, total)`` counts bytes.

    Raises OSError where the folder of blobs cannot be listed.
    """
    users: dict[Digest, set[str]] = {}
    problems = list(_manifests(store, users))
    blobs = {digest: _size(store, digest) for _, digest in list(store.blobs.entries()) if digest is not None}
    problems += [
        Problem("blob", str(digest), "is empty, no regular file, or cannot be looked at", _names(users, digest))
        for digest, size in blobs.items()
        if size is None
    ]
    if not fast:
        whole = {digest: size for digest, size in blobs.items() if size is not None}
        problems += _contents(store, whole, users, on_progress)
    return problems + list(_leftovers(store))


def _manifests(store: Store, users: dict[Digest, set[str]]) -> Iterator[Problem]:
    """Models that cannot be used; fills in which models use which blob."""
    scan = store.scan()
    for name in scan.names:
        try:
            manifest = store.manifest(name)
        except FileNotFoundError:
            continue  # deleted meanwhile
        except CorruptManifest as error:
            yield Problem("manifest", name.short, error.reason, (name.short,))
            continue
        for blob in manifest.blobs:
            users.setdefault(blob.digest, set()).add(name.short)
            what = _wrong(store, blob)
            if what:
                yield Problem("blob", str(blob.digest), what, (name.short,))
    if not scan.is_complete:
        yield Problem("manifest", "manifests", "something there cannot be looked at; the server's log names it")


def _wrong(store: Store, blob: Layer) -> str:
    """What is wrong with a blob that a model needs, as far as its size tells."""
    try:
        size = store.blobs.size(blob.digest)
    except StoreError as error:
        return str(error)
    if size == blob.size:
        return ""
    return "is missing" if size is None else f"has {size} bytes, not {blob.size}"


def _size(store: Store, digest: Digest) -> int | None:
    try:
        return store.blobs.size(digest)
    except StoreError:
        return None


def _contents(
    store: Store, blobs: dict[Digest, int], users: dict[Digest, set[str]], on_progress: OnProgress
) -> list[Problem]:
    total, done = sum(blobs.values()), 0
    problems = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashing lets go of the interpreter lock
        hashed = pool.map(_hash, (store.blob_path(digest) for digest in blobs))
        for (digest, size), found in zip(blobs.items(), hashed, strict=True):
            done += size
            on_progress(done, total)
            if found != digest.hex:
                what = "cannot be read" if not found else "has another content than its name says"
                problems.append(Problem("blob", str(digest), what, _names(users, digest)))
    return problems


def _hash(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _leftovers(store: Store) -> Iterator[Problem]:
    """Temporary files that no prune has taken although they are old enough."""
    folders = [path for path in (store.blobs.path, store.root / "tmp") if path.is_dir()]
    found = [path for folder in folders for path in folder.iterdir() if path.name.startswith(TEMPORARY_PREFIX)]
    for path in [*found, *store.temporary_manifests()]:
        try:
            age = time.time() - path.lstat().st_mtime
        except OSError:
            continue
        if age > GRACE_S:
            yield Problem("leftover", path.name, f"was left by a crash {age / 3600:.0f} hours ago; a server removes it")


def _names(users: dict[Digest, set[str]], digest: Digest) -> tuple[str, ...]:
    return tuple(sorted(users.get(digest, ())))
