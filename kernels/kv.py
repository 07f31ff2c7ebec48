"""The types of the KV cache.

A cache tensor is (n_pages, page_size, n_kv_heads, width): one row for each token's place. Pages may be apart, what a
page holds lies together. Plain types hold one number per element of a head. Quantized ones hold codes and a float16
scale for each 32 elements: ``q8_0`` 32 int8, ``q4_0`` 16 bytes of two codes. No two types have the same dtype, so a
tensor tells its type.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

BLOCK = 32  # elements that share a scale


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
        KvType("q8_0", torch.int8, 1.0 + 2 / BLOCK, BLOCK),
        KvType("q4_0", torch.uint8, 0.5 + 2 / BLOCK, BLOCK),
    )
}


def kv_type(cache: torch.Tensor) -> KvType:
    """The type of the tensor ``cache``."""
    return next(t for t in KV_TYPES.values() if t.dtype == cache.dtype)


def head_dim(cache: torch.Tensor) -> int:
    """Elements of a head of ``cache``."""
    return round(cache.shape[-1] * cache.dtype.itemsize / kv_type(cache).bytes_per_element)
