"""The native CPU backend: C++ kernels on packed weights and worker threads of their own.

``native/`` holds the C++ sources. A *level* is all kernels compiled for one instruction set; the best one that the
processor has is used, or the one that the environment variable ``GRISTMILL_CPU_LEVEL`` names.
"""

from .backend import CpuBackend
from .context import CpuContext, cpu_levels

__all__ = ["CpuBackend", "CpuContext", "cpu_levels"]
