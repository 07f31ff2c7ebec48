"""Types of GGUF tensors that are no weight formats: integers, and 64-bit floats.

A few architectures keep index tables in them. They are readable, so that a file which has one opens; that a
model does not take them for weights is the model's check.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gristmill.kernels.formats import Format
from gristmill.kernels.lazy import torch

if TYPE_CHECKING:
    import torch

__all__ = ["plain_type"]

# GGML's type number: name, bytes, torch's dtype (ggml.h, enum ggml_type)
_TYPES = {
    24: ("I8", 1, "int8"),
    25: ("I16", 2, "int16"),
    26: ("I32", 4, "int32"),
    27: ("I64", 8, "int64"),
    28: ("F64", 8, "float64"),
}


def plain_type(ggml_id: int) -> Format | None:
    """The plain type with this number in a GGUF file, or None. It decodes to float32, as formats do."""
    if ggml_id not in _TYPES:
        return None
    name, n_bytes, dtype_name = _TYPES[ggml_id]

    def decode(blocks: torch.Tensor) -> torch.Tensor:
        return blocks.contiguous().view(getattr(torch, dtype_name)).to(torch.float32)

    return Format(name, ggml_id, 1, n_bytes, decode)
