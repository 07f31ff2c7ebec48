"""The model store: Ollama's folder layout, read in place, written so that a crash at any point leaves it whole.

    <root>/manifests/<host>/<namespace>/<model>/<tag>     what a model consists of
    <root>/blobs/sha256-<hex>                             the parts, shared between models
    <root>/tmp/                                           scratch folders of running operations
    <root>/.gristmill.lock, .gristmill.lease              locks between processes

Two locks. The *lock* is held alone while a name is resolved and its manifest written or removed. The *lease* is
shared by everyone who has published blobs and not yet the manifest that names them; only who has it alone may
delete blobs, and who cannot get it leaves them to the next prune. Order: lease before lock, except for the
deleters, who only try the lease.

All calls block on the disk: a server makes them in a thread. They raise StoreError when the machine fails.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from gristmill.runtime.errors import InvalidRequest, cut, is_shortage

from ..store_id import store_id
from .blobs import BlobFolder, BlobWriter
from .digests import Digest, digest_of
from .errors import CorruptManifest, ModelNotFound, StoreBusy, StoreError, store_error, store_errors
from .facts import FactsCache, ModelFacts
from .files import temporary_folder
from .locks import FileLock
from .manifest_folder import ManifestFolder, Scan
from .manifests import Manifest, decode_manifest
from .names import Name
from .prune import prune
from .stored_model import StoredModel

__all__ = ["Store"]

_log = logging.getLogger(__name__)
_Signature = tuple[int, int, int, int]


class Store:
    """The models below ``root``. With ``keep_unused`` (OLLAMA_NOPRUNE) only ``delete`` ever removes blobs."""

    def __init__(self, root: Path, *, keep_unused: bool = False):
        self.root = Path(root)
        self.keep_unused = keep_unused
        self.blobs = BlobFolder(self.root / "blobs")
        self._manifests = ManifestFolder(self.root / "manifests")
        self._lock = FileLock(self.root / ".gristmill.lock")
        self._lease = FileLock(self.root / ".gristmill.lease")
        self._facts = FactsCache()
        self._loaded: dict[Name, tuple[_Signature, StoredModel]] = {}

    # --- models ---

    def list(self) -> list[StoredModel]:
        """All models that can be used, newest first. Broken ones are left out, with one warning."""
        models = []
        for name in self._manifests.scan().names:
            try:
                models.append(self._usable(name))
            except FileNotFoundError:
                continue  # deleted in between
            except CorruptManifest as error:
                self._manifests.warn_once(self._manifests.file(name), str(error))
        self._forget(model.name for model in models)
        return sorted(models, key=lambda model: -(model.modified_ns // 10**9))

    def find(self, text: str) -> StoredModel:
        """The model of this name, in any spelling.

        Raises InvalidRequest for no name, ModelNotFound, and CorruptManifest if it cannot be used.
        """
        name = Name.parse(text)
        try:
            return self._usable(name)  # most often it is spelled as it is stored
        except FileNotFoundError:
            name = self._manifests.resolve(name)
        try:
            return self._usable(name)
        except FileNotFoundError:
            raise ModelNotFound(text) from None

    def delete(self, text: str) -> None:
        """Remove a model, broken or not, and the blobs that certainly no other needs. Raises ModelNotFound."""
        name = Name.parse(text)
        with self._lock.exclusive():
            name = self._manifests.resolve(name)
            digests = self._digests(name)
            with store_errors("remove the model"):
                try:
                    self._manifests.stat(name)
                except FileNotFoundError:
                    raise ModelNotFound(text) from None
                self._manifests.remove(name)
            self._remove_unused(digests)

    def copy(self, source: str, destination: str) -> None:
        """Give a model a second name; a model of that name is replaced. Raises InvalidRequest, ModelNotFound."""
        target = _parse_side("destination", destination)
        _parse_side("source", source)
        with self._lock.exclusive():
            found = self.find(source)
            target = self._manifests.resolve(target)
            if target == found.name:
                return
            replaced = self._digests(target)
            with store_errors("write to the model store"):
                self._manifests.publish(target, self._manifests.read(found.name))
            if not self.keep_unused:
                self._remove_unused(replaced)

    def put_manifest(self, name: Name, manifest: Manifest, *, data: bytes | None = None) -> frozenset[Digest]:
        """Publish a model whose blobs are all there. Returns the blobs of the model that it replaced.

        ``data`` are the manifest's bytes where they are not ours to choose. Pass what comes back to ``remove_unused``
        after the lease is given back. Raises StoreError if a blob is missing.
        """
        with self._lock.exclusive():
            name = self._manifests.resolve(name)
            problem = self._problem(manifest)
            if problem:
                raise StoreError(f"cannot write the manifest of {name.short}: {problem}")
            replaced = self._digests(name)
            with store_errors("write to the model store"):
                self._manifests.publish(name, manifest.encode() if data is None else data)
        return replaced - manifest.digests

    def manifest_bytes(self, model: StoredModel) -> bytes:
        """The bytes that ``model.digest`` is the digest of. Raises StoreError if the model has changed since."""
        with store_errors("read from the model store"):
            data = self._manifests.read(model.name)
        if digest_of(data).hex != model.digest:
            raise StoreError(f"model {model.name.short} has just been replaced, try again")
        return data

    def has_manifest(self, name: Name) -> bool:
        """Whether there is a model of this name, usable or not."""
        try:
            with store_errors("read from the model store"):
                self._manifests.stat(self._manifests.resolve(name))
        except StoreError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return False
            raise
        return True

    def scan(self) -> Scan:
        """The names of all models, broken ones included. Raises StoreBusy."""
        return self._manifests.scan()

    def manifest(self, name: Name) -> Manifest:
        """Raises FileNotFoundError, and CorruptManifest for one that cannot be read; its blobs may be missing."""
        return self._load(name).manifest

    def temporary_manifests(self) -> Iterator[Path]:
        """Files of manifests that were never published."""
        return self._manifests.temporaries()

    def resolve(self, name: Name) -> Name:
        """``name`` in the spelling under which it is stored, or would be."""
        return self._manifests.resolve(name)

    def identity(self) -> str:
        """See ``store_id``."""
        return store_id(self.root)

    # --- blobs ---

    def blob_path(self, digest: Digest) -> Path:
        return self.blobs.file(digest)

    def has_blob(self, digest: Digest) -> bool:
        """Whether it is there. If so it becomes young again: somebody is about to refer to it."""
        if self.blobs.size(digest) is None:
            return False
        self.blobs.touch(digest)
        return True

    def adopt_blob(self, path: Path) -> Digest:
        """Make a whole, synced file of ``scratch`` a blob: it is moved, not copied. Raises StoreError."""
        return self.blobs.adopt(path)

    def facts(self, digest: Digest) -> ModelFacts:
        """What a GGUF blob says of itself. Raises ModelError."""
        return self._facts.facts(self.blobs.file(digest))

    def open_blob_writer(self) -> BlobWriter:
        return self.blobs.writer()

    def remove_unused(self, digests: Iterable[Digest]) -> None:
        """Delete those of the blobs that no model names, unless the store keeps them or somebody is at work."""
        if not self.keep_unused:
            with self._lock.exclusive():
                self._remove_unused(digests)

    # --- running operations ---

    def lease(self) -> AbstractContextManager[None]:
        """Held from the first blob of a new model until its manifest is there: meanwhile no blob is deleted."""
        return self._lease.shared()

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for large temporary files, gone at the end. After a crash a later prune removes it."""
        with ExitStack() as stack:
            with store_errors("write to the model store"):
                folder = stack.enter_context(temporary_folder(self.root / "tmp"))
            yield folder

    def prune(self) -> None:
        """Tidy up after crashes, at start. Never fails: a store that cannot be written is still good to read."""
        try:
            with self._lock.exclusive(), self._lease.try_exclusive() as is_alone:
                used = None if self.keep_unused or not is_alone else self._used()
                with store_errors("tidy up the model store"):
                    prune(self.root, self.blobs, self._manifests, used)
        except StoreError as error:
            _log.warning("the model store can only be read: %s", error)

    # --- inside ---

    def _usable(self, name: Name) -> StoredModel:
        model = self._load(name)
        problem = self._problem(model.manifest)
        if problem:
            raise CorruptManifest(name.short, problem)
        _ = model.config  # decoded here, once, so that a broken one shows now
        return model

    def _load(self, name: Name) -> StoredModel:
        """Raises FileNotFoundError, CorruptManifest, StoreBusy. Files that did not change are not read twice."""
        try:
            info = self._manifests.stat(name)
            signature = (info.st_ino, info.st_mtime_ns, info.st_ctime_ns, info.st_size)
            known = self._loaded.get(name)
            if known and known[0] == signature:
                return known[1]
            data = self._manifests.read(name)
            manifest = decode_manifest(data)
        except FileNotFoundError:
            raise
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and is_shortage(error):
                raise store_error("read from the model store", error) from error
            raise CorruptManifest(name.short, getattr(error, "strerror", None) or str(error)) from None
        model = StoredModel(name, digest_of(data).hex, info.st_mtime_ns, manifest, self.blobs, self._facts)
        self._loaded[name] = (signature, model)
        return model

    def _problem(self, manifest: Manifest) -> str:
        """What is wrong with the blobs of a manifest, or nothing. Raises StoreBusy."""
        for blob in manifest.blobs:
            try:
                size = self.blobs.size(blob.digest)
            except StoreBusy:
                raise
            except StoreError as error:
                return f"blob {blob.digest}: {error}"
            if size != blob.size:
                return f"blob {blob.digest} " + ("is missing" if size is None else f"has {size} bytes, not {blob.size}")
        return ""

    def _digests(self, name: Name) -> frozenset[Digest]:
        """What a manifest names, nothing if it cannot be read."""
        try:
            return self._load(name).manifest.digests
        except (FileNotFoundError, CorruptManifest):
            return frozenset()

    def _used(self) -> frozenset[Digest] | None:
        """Every blob that some manifest names, or None if one could not be read. The caller holds the lock."""
        try:
            scan = self._manifests.scan()
            if not scan.is_complete:
                return None
            return frozenset().union(*(self._load(name).manifest.digests for name in scan.names))
        except (FileNotFoundError, CorruptManifest, StoreBusy):
            return None

    def _remove_unused(self, digests: Iterable[Digest]) -> None:
        used = self._used()
        if used is None:
            return _log.warning("blobs are kept: a manifest cannot be read")
        with self._lease.try_exclusive() as is_alone:
            for digest in sorted(set(digests) - used) if is_alone else ():
                try:
                    self.blobs.remove(digest)
                except OSError as error:
                    _log.warning("blob %s cannot be removed: %s", digest, error.strerror)
        return None

    def _forget(self, names: Iterable[Name]) -> None:
        """Keep only what is still there."""
        there = set(names)
        for name in list(self._loaded):
            if name not in there:
                self._loaded.pop(name, None)


def _parse_side(side: str, text: str) -> Name:
    try:
        return Name.parse(text)
    except InvalidRequest:
        raise InvalidRequest(f"{side} {cut(text)} is invalid") from None
