"""The native CPU backend: C++ kernels on packed weights and worker threads of their own.

``native/`` holds the C++ sources. A *level* is all kernels compiled for one instruction set; the best one that the
processor has is used, or the one that the environment variable ``GRISTMILL_CPU_LEVEL`` names. The public names load
on first use: asking for the levels needs the extension, not torch.
"""

import importlib
from typing import Any

__all__ = ["CpuBackend", "CpuContext", "cpu_levels"]

_HOME = {"CpuBackend": ".backend", "CpuContext": ".context", "cpu_levels": ".extension"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gristmill.kernels.cpu' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name], __name__), name)
