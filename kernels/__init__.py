"""Block bytes in, float tensors out: weight formats and operators per device. Knows no models.

The public names load on first use: reading a file's tensor table needs the formats' sizes, not torch.
"""

import importlib
from typing import Any

__all__ = ["FORMATS", "Ops", "QTensor", "open_ops"]

_HOME = {"FORMATS": ".formats", "Ops": ".ops", "QTensor": ".qtensor", "open_ops": ".ops"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gristmill.kernels' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name], __name__), name)
