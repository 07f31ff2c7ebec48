"""The tensors of the paged KV cache. Which page belongs to whom is ``pages.py``'s business."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from gristmill.kernels.kv import KV_TYPES, KvType
from gristmill.kernels.memory import Memory

from .config import DecoderConfig
from .errors import InvalidRequest, OutOfMemory

PAGE_SIZE = 16
_REGION_BYTES = 256 << 20


@dataclass(frozen=True)
class KVCache:
    """``keys[layer]`` and ``values[layer]`` are cache tensors of ``kernels.kv``: (n_slots, n_kv_heads, width)."""

    keys: list[torch.Tensor]
    values: list[torch.Tensor]
    page_size: int
    n_pages: int

    @classmethod
    def allocate(cls, config: DecoderConfig, n_pages: int, kv_type: str, device: torch.device) -> KVCache:
        """Room for ``n_pages`` pages. The operating system gives memory to a page when it is first written.

        Raises InvalidRequest for an unknown ``kv_type``, OutOfMemory where the address space is too small.
        """
        kind, n_slots = _kv_type(config, kv_type), n_pages * PAGE_SIZE

        size = bytes_per_token(config, kv_type) * n_slots
        memory = Memory(min(size, _REGION_BYTES))

        def layers(dim: int) -> list[torch.Tensor]:
            shape = (n_slots, config.n_kv_heads, kind.width(dim))
            if device.type != "cpu":
                return [torch.empty(shape, dtype=kind.dtype, device=device) for _ in range(config.n_layers)]
            n_bytes = math.prod(shape) * kind.dtype.itemsize
            return [memory.take(n_bytes).view(kind.dtype).reshape(shape) for _ in range(config.n_layers)]

        try:
            return cls(layers(config.key_dim), layers(config.value_dim), PAGE_SIZE, n_pages)
        except (RuntimeError, OSError, OverflowError):
            raise OutOfMemory(
                f"not enough memory for a cache of {n_slots} tokens ({size / 1e9:.1f} GB); lower num_ctx"
            ) from None

    @property
    def n_bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in (*self.keys, *self.values))


def bytes_per_token(config: DecoderConfig, kv_type: str) -> int:
    """What one token costs in the cache."""
    kind = _kv_type(config, kv_type)
    per_layer = config.n_kv_heads * (kind.width(config.key_dim) + kind.width(config.value_dim))
    return config.n_layers * per_layer * kind.dtype.itemsize


def _kv_type(config: DecoderConfig, name: str) -> KvType:
    if name not in KV_TYPES:
        raise InvalidRequest(f"kv cache type {name!r} is not supported; supported: {', '.join(KV_TYPES)}")
    kind = KV_TYPES[name]
    for dim in (config.key_dim, config.value_dim):
        if dim % kind.multiple:
            raise InvalidRequest(
                f"kv cache type {name!r} needs heads of a multiple of {kind.multiple} elements, "
                f"this model's have {dim}; use f16"
            )
    return kind
