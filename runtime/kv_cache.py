"""The tensors of the paged KV cache. Which page belongs to whom is ``pages.py``'s business."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .config import DecoderConfig
from .errors import InvalidRequest, ModelError

PAGE_SIZE = 16
KV_DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class KVCache:
    """``keys[layer]`` (n_slots, n_kv_heads, key_dim), ``values[layer]`` (n_slots, n_kv_heads, value_dim)."""

    keys: list[torch.Tensor]
    values: list[torch.Tensor]
    page_size: int
    n_pages: int

    @classmethod
    def allocate(cls, config: DecoderConfig, n_pages: int, kv_type: str, device: torch.device) -> KVCache:
        """Room for ``n_pages`` pages. The operating system gives memory to a page when it is first written.

        Raises InvalidRequest for an unknown ``kv_type``, ModelError where the address space is too small.
        """
        if kv_type not in KV_DTYPES:
            raise InvalidRequest(f"kv cache type {kv_type!r} is not supported; supported: {', '.join(KV_DTYPES)}")
        n_slots, dtype = n_pages * PAGE_SIZE, KV_DTYPES[kv_type]

        def layers(dim: int) -> list[torch.Tensor]:
            shape = (n_slots, config.n_kv_heads, dim)
            return [torch.empty(shape, dtype=dtype, device=device) for _ in range(config.n_layers)]

        try:
            return cls(layers(config.key_dim), layers(config.value_dim), PAGE_SIZE, n_pages)
        except RuntimeError:
            size = bytes_per_token(config, kv_type) * n_slots
            raise ModelError(
                f"not enough memory for a cache of {n_slots} tokens ({size / 1e9:.1f} GB); lower num_ctx"
            ) from None

    @property
    def n_bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in (*self.keys, *self.values))


def bytes_per_token(config: DecoderConfig, kv_type: str) -> int:
    """What one token costs in the cache."""
    per_layer = config.n_kv_heads * (config.key_dim + config.value_dim)
    return config.n_layers * per_layer * KV_DTYPES[kv_type].itemsize
