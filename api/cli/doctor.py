"""The ``doctor`` command: what this machine offers, what is missing, and what to do about it.

Imports neither torch nor any other engine package: it must also work where they are broken.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from gristmill import __version__
from gristmill.kernels.cpu.extension import LEVEL_VARIABLE, MISSING, WAY_OUT, cpu_levels
from gristmill.runtime.errors import GristmillError

from ..store import Store
from ..store.default_model import SMOLLM2
from . import human, machine
from .address import read_settings
from .client import Client
from .session_server import can_start_at

_LOW_MEMORY_BYTES = 1_500_000_000
_LOW_DISK_BYTES = 1_000_000_000
_REQUIREMENT = re.compile(r"([A-Za-z0-9_.-]+)\s*(?:>=\s*([0-9.]+))?")


@dataclass(frozen=True)
class Check:
    """One line of the report. With a ``fix`` something should be done; ``is_broken``: must be done."""

    name: str
    text: str
    fix: str = ""
    is_broken: bool = False

    @property
    def mark(self) -> str:
        return "broken" if self.is_broken else "hint" if self.fix else "ok"


def doctor(_: Namespace) -> int:
    """Prints the report; status 1 when something is broken."""
    settings = read_settings()
    client = Client.of(settings)
    checks = [
        *_versions(),
        *_machine(),
        _kernels(),
        *_store(settings.models),
        _server(client),
        _default_model(settings.models),
    ]
    sys.stdout.write(report(checks))
    return 1 if any(check.is_broken for check in checks) else 0


def report(checks: Iterable[Check]) -> str:
    lines = []
    for check in checks:
        lines.append(f"{check.mark:<7} {check.name:<14} {check.text}\n")
        if check.fix:
            lines.append(f"{'':<7} {'':<14} fix: {check.fix}\n")
    return "".join(lines)


def _versions() -> Iterator[Check]:
    yield Check("python", sys.version.split()[0])
    yield Check("gristmill", __version__)
    yield from packages(metadata.version, _requirements())


def _kernels() -> Check:
    """The native kernels: the instruction set they use here."""
    try:
        levels = cpu_levels()
    except ImportError:
        return Check("kernels", MISSING, WAY_OUT)
    forced = os.environ.get(LEVEL_VARIABLE)
    if forced and forced not in levels:
        text = f"{LEVEL_VARIABLE}={forced} is not one of {', '.join(levels)}"
        return Check("kernels", text, f"unset {LEVEL_VARIABLE}")
    return Check("kernels", f"native, {forced or levels[0]}")


def _requirements() -> list[str]:
    """What the installed project needs to run; nothing when it is not installed."""
    try:
        requirements = metadata.requires("gristmill") or []
    except metadata.PackageNotFoundError:
        return []
    return [requirement for requirement in requirements if "extra ==" not in requirement]


def packages(version_of: Callable[[str], str], requirements: Iterable[str]) -> Iterator[Check]:
    """A line for torch, a line for each package that is missing or too old, and one for all the others."""
    n_good = 0
    for requirement in requirements:
        name, least = _parse(requirement)
        try:
            version = version_of(name)
        except metadata.PackageNotFoundError:
            yield Check(name, "not installed", f"pip install '{name}>={least or 0}'", is_broken=True)
            continue
        if _numbers(version) < _numbers(least):
            fix = f"pip install --upgrade '{name}>={least}'"
            yield Check(name, f"{version}, older than {least}", fix, is_broken=True)
            continue
        n_good += 1
        if name == "torch":
            yield Check("torch", version)
    if n_good:
        yield Check("packages", f"{n_good} installed")
    else:
        yield Check("packages", "this copy is not installed", "pip install . in the project's folder", is_broken=True)


def _parse(requirement: str) -> tuple[str, str]:
    """Name and least version (or "") of a requirement such as ``torch>=2.9``."""
    match = _REQUIREMENT.match(requirement)
    assert match is not None
    return match[1], match[2] or ""


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version.partition("+")[0])]


def _machine() -> Iterator[Check]:
    processor = machine.processor()
    features = ", ".join(processor.features) or "no features listed"
    yield Check("processor", f"{processor.name}: {features}")
    yield Check("cores", f"{machine.cores()} usable")
    memory = machine.memory()
    if memory is None:
        yield Check("memory", "unknown: the system does not say")
    else:
        text = f"{human.size(memory.free)} free of {human.size(memory.total)}"
        is_low = memory.free < _LOW_MEMORY_BYTES
        yield Check("memory", text, "close other programs, or use a smaller model" if is_low else "")


def _store(models: Path) -> Iterator[Check]:
    yield Check("models", f"{machine.count_models(models)} in {models}")
    where = machine.existing(models)
    if not (where.is_dir() and os.access(where, os.W_OK | os.X_OK)):
        fix = f"make {where} writable, or set OLLAMA_MODELS to another folder"
        yield Check("store", f"{where} cannot be written", fix, is_broken=True)
    free = machine.free_disk(models)
    fix = "remove models with 'gristmill rm', or set OLLAMA_MODELS to a folder on a larger disk"
    yield Check("disk", f"{human.size(free)} free", fix if free < _LOW_DISK_BYTES else "")


def _server(client: Client) -> Check:
    try:
        if client.is_running():
            return Check("server", f"answers at {client.address}, version {client.version()}")
    except GristmillError as error:
        return Check("server", str(error), "set OLLAMA_HOST to a free address", is_broken=True)
    if can_start_at(client.address):
        return Check("server", f"none at {client.address}; 'gristmill run' starts one for its session")
    fix = "start it there, or unset OLLAMA_HOST to use this machine"
    return Check("server", f"none at {client.address}", fix, is_broken=True)


def _default_model(models: Path) -> Check:
    """Where ``gristmill run`` would take its default model from. Nothing is fetched, and no network is asked."""
    name = SMOLLM2.name
    try:
        Store(models).find(name)
        return Check("default model", f"{name} is in the store")
    except GristmillError:
        pass
    if find_spec(SMOLLM2.module) is not None:
        return Check("default model", f"{name} is in the installed package {SMOLLM2.distribution}")
    if find_spec("pip") is not None or shutil.which("uv"):
        size = human.size(SMOLLM2.wheel_bytes)
        return Check("default model", f"{name} is not here; the first 'gristmill run' downloads it ({size})")
    fix = "install pip (python -m ensurepip) or uv"
    return Check("default model", f"{name} is not here, and nothing that could download it", fix, is_broken=True)
