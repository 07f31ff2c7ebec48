"""The format table. A format is one file in this folder that names its rows in ``ROWS``; it is found by that.

Everything that loops over formats (loading, tests, benchmarks, tools) reads ``FORMATS``, so a new file here is
all that a new format needs.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import MappingProxyType

from .base import Format

__all__ = ["FORMATS", "Format", "by_ggml_id"]


def _discover() -> dict[str, Format]:
    table: dict[str, Format] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        for row in getattr(importlib.import_module(f"{__name__}.{module}"), "ROWS", ()):
            if row.name in table:
                raise ImportError(f"format {row.name} is defined twice, the second time in {module}.py")
            table[row.name] = row
    return table


FORMATS = MappingProxyType(_discover())
_BY_GGML_ID = {row.ggml_id: row for row in FORMATS.values() if row.ggml_id is not None}


def by_ggml_id(ggml_id: int) -> Format | None:
    """The format with this type number in a GGUF file, or None."""
    return _BY_GGML_ID.get(ggml_id)
