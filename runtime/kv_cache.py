"""The tensors of the paged KV cache, and of states. Which page and row belongs to whom is ``pages.py``'s business."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from gristmill.kernels.kv import KV_TYPES, KvType
from gristmill.kernels.memory import Memory

from .errors import InvalidRequest, OutOfMemory
from .kept import Kept, KvShape

PAGE_SIZE = 16
_LINE = 64  # bytes of a cache line


@dataclass(frozen=True)
class KVCache:
    """``keys[layer]`` and ``values[layer]``: cache tensors of ``kernels.kv``, (n_pages, page_size, n_kv_heads, width).

    All are views of one region in which a page's keys and values of all layers lie together: the first tokens touch
    few of the system's pages, which are large and cleared when they are first written. A layer that keeps none has
    tensors without elements.

    ``states[layer]``: float32 (n_states, *shape) for each shape that the layer keeps a state of.
    """

    keys: list[torch.Tensor]
    values: list[torch.Tensor]
    states: list[tuple[torch.Tensor, ...]]
    page_size: int
    n_pages: int

    @classmethod
    def allocate(
        cls, layers: Sequence[Kept], n_pages: int, kv_type: str, device: torch.device, *, n_states: int = 1
    ) -> KVCache:
        """Room for ``n_pages`` pages and ``n_states`` states of a model with these ``layers``.

        The operating system gives memory to a page when it is first written. Raises InvalidRequest for an unknown
        ``kv_type``, OutOfMemory where the address space is too small.
        """
        kind = _kv_type(layers, kv_type)
        shapes = [shape for layer in layers for shape in _page_shapes(layer.kv, kind)]
        sizes = [_lines(math.prod(shape) * kind.dtype.itemsize) for shape in shapes]
        *starts, page_bytes = itertools.accumulate(sizes, initial=0)
        try:
            region = _region(n_pages * page_bytes, device).view(n_pages, page_bytes)
            states = [_states(layer, n_states, device) for layer in layers]
        except (RuntimeError, OSError, OverflowError):
            raise OutOfMemory(
                f"not enough memory for a cache of {n_pages * PAGE_SIZE} tokens "
                f"({n_pages * page_bytes / 1e9:.1f} GB); lower num_ctx"
            ) from None

        def part(start: int, shape: tuple[int, ...]) -> torch.Tensor:
            n_bytes = math.prod(shape) * kind.dtype.itemsize
            if not n_bytes:
                return torch.empty(n_pages, *shape, dtype=kind.dtype, device=device)
            return region[:, start : start + n_bytes].view(kind.dtype).view(n_pages, *shape)

        parts = [part(start, shape) for start, shape in zip(starts, shapes, strict=True)]
        return cls(parts[0::2], parts[1::2], states, PAGE_SIZE, n_pages)

    @property
    def n_bytes(self) -> int:
        tensors = itertools.chain(self.keys, self.values, *self.states)
        return sum(t.numel() * t.element_size() for t in tensors)


def _lines(n_bytes: int) -> int:
    return n_bytes + -n_bytes % _LINE


def _region(n_bytes: int, device: torch.device) -> torch.Tensor:
    if device.type == "cpu":
        return Memory(n_bytes).take(n_bytes)
    return torch.empty(n_bytes, dtype=torch.uint8, device=device)


def _page_shapes(kv: KvShape | None, kind: KvType) -> list[tuple[int, ...]]:
    """A page's keys and values in one layer."""
    if kv is None:
        return [(PAGE_SIZE, 0, 0)] * 2
    return [(PAGE_SIZE, kv.n_heads, kind.width(dim)) for dim in (kv.key_dim, kv.value_dim)]


def _states(layer: Kept, n_states: int, device: torch.device) -> tuple[torch.Tensor, ...]:
    shapes = [(n_states, *shape) for shape in layer.states]
    return tuple(_region(4 * math.prod(shape), device).view(torch.float32).view(shape) for shape in shapes)


def bytes_per_token(layers: Sequence[Kept], kv_type: str) -> int:
    """What one token costs in the cache."""
    kind = _kv_type(layers, kv_type)
    kept = [layer.kv for layer in layers if layer.kv]
    return kind.dtype.itemsize * sum(kv.n_heads * (kind.width(kv.key_dim) + kind.width(kv.value_dim)) for kv in kept)


def _kv_type(layers: Sequence[Kept], name: str) -> KvType:
    if name not in KV_TYPES:
        raise InvalidRequest(f"kv cache type {name!r} is not supported; supported: {', '.join(KV_TYPES)}")
    kind = KV_TYPES[name]
    for dim in {dim for layer in layers if layer.kv for dim in (layer.kv.key_dim, layer.kv.value_dim)}:
        if dim % kind.multiple:
            raise InvalidRequest(
                f"kv cache type {name!r} needs heads of a multiple of {kind.multiple} elements, "
                f"this model's have {dim}; use f16"
            )
    return kind
