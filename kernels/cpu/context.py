"""A level of the extension module on some threads, with its look-up tables."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import torch

from ..formats.grids import GRIDS, grid
from .cores import physical_cores
from .extension import LEVEL_VARIABLE, load_extension

# Order and elements as in native/tables.h. IQ1's values are kept positive, and doubled thrice for its deltas of 1/8.
_TABLES = ("IQ1", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S")


class CpuContext:
    """A level on ``n_threads`` worker threads. ``handle`` goes to every call of ``native``.

    Raises ImportError, saying what to do, where the extension was not built, and ValueError for a level that this
    processor does not have.
    """

    def __init__(self, n_threads: int = 0, level: str | None = None):
        self.native = _load()
        self.n_threads = n_threads if n_threads > 0 else physical_cores()
        self.level = level or os.environ.get(LEVEL_VARIABLE) or self.native.levels()[0]
        if self.level not in self.native.levels():
            known = ", ".join(self.native.levels())
            raise ValueError(f"{LEVEL_VARIABLE}={self.level}: this processor's levels are {known}")
        self.handle = self.native.open_context(self.level, self.n_threads)


@cache
def _load() -> Any:
    native = load_extension()
    for table_id, name in enumerate(_TABLES):
        native.set_table(table_id, _table(name))
    return native


def _table(name: str) -> bytes:
    values = grid(name, torch.device("cpu"))
    if name == "IQ1":
        values = values * 8 + 9
    assert GRIDS[name].n_elems in (4, 8)
    return bytes(values.to(torch.uint8).numpy().tobytes())
