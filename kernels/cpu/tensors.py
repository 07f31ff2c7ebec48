"""What the native module demands of tensors: it gets addresses and strides, and a copy could not be recorded."""

from __future__ import annotations

import torch


def row_stride(x: torch.Tensor) -> int:
    """Elements from one row to the next; what a row holds lies together."""
    assert x[0].is_contiguous() if x.shape[0] else True, "rows must be contiguous"
    return x.stride(0)


def contiguous(x: torch.Tensor) -> torch.Tensor:
    """``x``, all of which lies together."""
    assert x.is_contiguous(), "a copy could not be recorded"
    return x
