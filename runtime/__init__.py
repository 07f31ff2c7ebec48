"""Prompt tokens in, token events out. Knows models, tokens and batches; knows no HTTP.

The public names load on first use: the server and the client commands import parts of this layer, and none of
those may pull in torch.
"""

import importlib
from typing import Any

__all__ = ["Sampling", "architectures", "open_checkpoint", "open_model", "open_tokenizer"]

_HOME = {
    "Sampling": ".params",
    "architectures": ".models",
    "open_checkpoint": ".checkpoint",
    "open_model": ".model",
    "open_tokenizer": ".tokenizer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gristmill.runtime' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name], __name__), name)
