"""torch, imported on first use.

Reading a file's tensor table needs only the sizes of the formats, and the server and the client commands do
just that. So modules that declare formats import ``torch`` from here and pay for it when they first compute.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
else:

    class _LazyModule:
        def __init__(self, name: str):
            self._name = name

        def __getattr__(self, attribute: str) -> Any:
            return getattr(importlib.import_module(self._name), attribute)

    torch = _LazyModule("torch")

__all__ = ["torch"]
