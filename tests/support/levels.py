"""The native kernels' levels as test parameters: all that this machine runs."""

import pytest
import torch

from gristmill.kernels.cpu import CpuBackend, cpu_levels
from gristmill.kernels.ops import Ops

try:
    LEVELS = cpu_levels()
    MISSING = ""
except ImportError as error:
    LEVELS, MISSING = ["none"], str(error)


def open_level(level, n_threads=2):
    if MISSING:
        pytest.skip(MISSING)
    return Ops([CpuBackend(n_threads, level)], torch.device("cpu"))
