"""The tensors of the paged KV cache. Which page belongs to whom is ``pages.py``'s business."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch

from gristmill.kernels.kv import KV_TYPES, KvType
from gristmill.kernels.memory import Memory

from .config import DecoderConfig
from .errors import InvalidRequest, OutOfMemory

PAGE_SIZE = 16
_LINE = 64  # bytes of a cache line


@dataclass(frozen=True)
class KVCache:
    """``keys[layer]`` and ``values[layer]``: cache tensors of ``kernels.kv``, (n_pages, page_size, n_kv_heads, width).

    All are views of one region in which a page's keys and values of all layers lie together: the first tokens touch
    few of the system's pages, which are large and cleared when they are first written.
    """

    keys: list[torch.Tensor]
    values: list[torch.Tensor]
    page_size: int
    n_pages: int

    @classmethod
    def allocate(cls, config: DecoderConfig, n_pages: int, kv_type: str, device: torch.device) -> KVCache:
        """Room for ``n_pages`` pages. The operating system gives memory to a page when it is first written.

        Raises InvalidRequest for an unknown ``kv_type``, OutOfMemory where the address space is too small.
        """
        kind = _kv_type(config, kv_type)
        shapes = [(PAGE_SIZE, config.n_kv_heads, kind.width(dim)) for dim in (config.key_dim, config.value_dim)]
        sizes = [_lines(math.prod(shape) * kind.dtype.itemsize) for shape in shapes * config.n_layers]
        *starts, page_bytes = itertools.accumulate(sizes, initial=0)
        try:
            region = _region(n_pages * page_bytes, device).view(n_pages, page_bytes)
        except (RuntimeError, OSError, OverflowError):
            raise OutOfMemory(
                f"not enough memory for a cache of {n_pages * PAGE_SIZE} tokens "
                f"({n_pages * page_bytes / 1e9:.1f} GB); lower num_ctx"
            ) from None

        def part(start: int, shape: tuple[int, ...]) -> torch.Tensor:
            n_bytes = math.prod(shape) * kind.dtype.itemsize
            return region[:, start : start + n_bytes].view(kind.dtype).view(n_pages, *shape)

        keys = [part(start, shapes[0]) for start in starts[0::2]]
        return cls(keys, [part(start, shapes[1]) for start in starts[1::2]], PAGE_SIZE, n_pages)

    @property
    def n_bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in (*self.keys, *self.values))


def _lines(n_bytes: int) -> int:
    return n_bytes + -n_bytes % _LINE


def _region(n_bytes: int, device: torch.device) -> torch.Tensor:
    if device.type == "cpu":
        return Memory(n_bytes).take(n_bytes)
    return torch.empty(n_bytes, dtype=torch.uint8, device=device)


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
