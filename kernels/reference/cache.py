"""Keys and values as they lie in a cache of each type: plain numbers, or codes and float16 scales of 32 elements."""

from __future__ import annotations

import torch

from ..formats import FORMATS
from ..kv import BLOCK, head_dim, kv_type


def to_cache(rows: torch.Tensor, cache: torch.Tensor) -> torch.Tensor:
    """float32 (..., d) -> (..., width) of the type of ``cache``."""
    name = kv_type(cache).name
    if name == "q4_0":
        return FORMATS["Q4_0"].encode(rows)
    return _to_q8(rows) if name == "q8_0" else rows.to(cache.dtype)


def from_cache(rows: torch.Tensor) -> torch.Tensor:
    """Rows of a cache (..., width) -> float32 (..., d)."""
    name = kv_type(rows).name
    if name == "q4_0":
        return FORMATS["Q4_0"].decode(rows)
    return _from_q8(rows) if name == "q8_0" else rows.to(torch.float32)


def _to_q8(rows: torch.Tensor) -> torch.Tensor:
    """The codes of a head, then its scales."""
    blocks = rows.reshape(*rows.shape[:-1], -1, BLOCK)
    highest = blocks.abs().amax(-1, keepdim=True)
    codes = torch.where(highest > 0, blocks * (127.0 / highest), 0.0).round().to(torch.int8).flatten(-2)
    scales = (highest / 127.0).to(torch.float16).flatten(-2)
    return torch.cat((codes, scales.contiguous().view(torch.int8)), dim=-1)


def _from_q8(rows: torch.Tensor) -> torch.Tensor:
    d = head_dim(rows)
    blocks = rows[..., :d].to(torch.float32).reshape(*rows.shape[:-1], -1, BLOCK)
    scales = rows[..., d:].contiguous().view(torch.float16).to(torch.float32)
    return (blocks * scales[..., None]).flatten(-2)
