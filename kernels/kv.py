"""The types of the KV cache.

A cache tensor is (n_slots, n_kv_heads, width): one row for each token's place. Plain types hold one number per
element of a head. ``q8_0`` holds, for each 32 elements, 32 int8 and a float16 scale, as uint8.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

Q8_BLOCK = 32


@dataclass(frozen=True)
class KvType:
    """``bytes_per_element`` counts scales; ``multiple``: heads must have a multiple of so many elements."""

    name: str
    dtype: torch.dtype
    bytes_per_element: float
    multiple: int = 1

    def width(self, head_dim: int) -> int:
        """Numbers of ``dtype`` that a head takes."""
        return round(head_dim * self.bytes_per_element) // self.dtype.itemsize


KV_TYPES = {
    t.name: t
    for t in (
        KvType("f32", torch.float32, 4.0),
        KvType("f16", torch.float16, 2.0),
        KvType("bf16", torch.bfloat16, 2.0),
        KvType("q8_0", torch.uint8, 1.0 + 2 / Q8_BLOCK, Q8_BLOCK),
    )
}


def head_dim(cache: torch.Tensor) -> int:
    """Elements of a head of ``cache``."""
    return cache.shape[-1] * Q8_BLOCK // (Q8_BLOCK + 2) if cache.dtype == torch.uint8 else cache.shape[-1]
