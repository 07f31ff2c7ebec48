"""Loading the extension module. Imports no torch."""

from __future__ import annotations

import importlib
from typing import Any

LEVEL_VARIABLE = "GRISTMILL_CPU_LEVEL"
MISSING = "the native CPU kernels are not built, so computing is slow"
WAY_OUT = "install a C++17 compiler (for example: apt install g++) and reinstall gristmill"


def load_extension() -> Any:
    """The module ``_cpu``. Raises ImportError, saying what to do, where it was not built."""
    try:
        return importlib.import_module("._cpu", __package__)
    except ImportError:
        raise ImportError(f"{MISSING}; {WAY_OUT}") from None


def cpu_levels() -> list[str]:
    """Levels that this processor runs, the best first. Raises ImportError as ``load_extension`` does."""
    levels: list[str] = load_extension().levels()
    return levels
