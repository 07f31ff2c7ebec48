"""How good a model is, in numbers: perplexity, divergence from another model, importance and errors of its tensors.

Pure functions over open models and checkpoints, for scripts and for the commands of the same names. Memory stays
bounded: logits come ``ROWS`` at a time, tensors are decoded some rows at a time.
"""

from .divergence import Divergence, diverge
from .importance import collect_importance
from .perplexity import Perplexity, perplexity
from .tensors import TensorError, TensorRow, compare_tensors, histogram, tensor_rows
from .windows import ROWS, Window, text_windows

__all__ = [
    "ROWS",
    "Divergence",
    "Perplexity",
    "TensorError",
    "TensorRow",
    "Window",
    "collect_importance",
    "compare_tensors",
    "diverge",
    "histogram",
    "perplexity",
    "tensor_rows",
    "text_windows",
]
