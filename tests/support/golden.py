"""Where the golden data is: reference data from other engines, which tests use where it is there.

``GRISTMILL_GOLDEN`` names its folder; the default is ``shared/golden`` beside the repository.
"""

from __future__ import annotations

import lzma
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from gristmill.runtime.models import architectures

DEFAULT = Path(__file__).parents[3] / "shared" / "golden"


def golden_path(name: str) -> Path:
    """The file ``name`` of the golden data. Skips the test where it is absent."""
    path = Path(os.environ.get("GRISTMILL_GOLDEN") or DEFAULT) / name
    if not path.exists():
        pytest.skip(f"golden data {name} is not there; GRISTMILL_GOLDEN names its folder")
    return path


def golden_arrays(name: str) -> dict[str, np.ndarray]:
    """All arrays of the golden file ``name``, an .npz."""
    with np.load(golden_path(name)) as file:
        return dict(file)


def cache_folder() -> Path:
    """A folder for unpacked data that outlives the test run."""
    folder = Path(tempfile.gettempdir()) / f"gristmill-golden-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def unpacked(name: str) -> Path:
    """The golden file ``name``, which ends in .xz, unpacked once into the cache folder."""
    packed = golden_path(name)
    path = cache_folder() / packed.name.removesuffix(".xz")
    if not path.exists() or path.stat().st_mtime < packed.stat().st_mtime:
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(lzma.decompress(packed.read_bytes()))
        os.replace(file.name, path)
    return path


def architecture_files() -> list[str]:
    """NAME of each ``archs/NAME.gguf.xz``, an architecture and "-dense" or "-moe"; none without golden data."""
    folder = Path(os.environ.get("GRISTMILL_GOLDEN") or DEFAULT) / "archs"
    return sorted(path.name.removesuffix(".gguf.xz") for path in folder.glob("*.gguf.xz"))


def built_architectures() -> list[str]:
    """Those of ``architecture_files`` that can be built."""
    return [name for name in architecture_files() if name.rsplit("-", 1)[0] in architectures()]
