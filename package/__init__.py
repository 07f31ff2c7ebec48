"""Gristmill: a native LLM inference engine with a PyTorch runtime, and a drop-in Ollama server.

Three layers, imported one way only: ``api`` -> ``runtime`` -> ``kernels``. The public names below load
on first use, so that ``import gristmill`` and the client commands pay for neither torch nor numpy.
"""

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = ["FORMATS", "Sampling", "__version__", "open_model", "open_tokenizer"]

_HOME = {
    "FORMATS": "gristmill.kernels",
    "Sampling": "gristmill.runtime",
    "open_model": "gristmill.api.notebook",
    "open_tokenizer": "gristmill.api.notebook",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gristmill' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
