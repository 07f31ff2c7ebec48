"""Formats without blocks: one element each.

F8_E4M3 and F8_E5M2 occur in safetensors files only; any scale that goes with them is a tensor of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import torch
from .base import Format

if TYPE_CHECKING:
    from .base import BlockDecoder, BlockEncoder


def _decoder(dtype_name: str) -> BlockDecoder:
    def decode(blocks: torch.Tensor) -> torch.Tensor:
        dtype = getattr(torch, dtype_name)
        return blocks.contiguous().view(dtype).to(torch.float32)

    return decode


def _encoder(dtype_name: str) -> BlockEncoder:
    def encode(x: torch.Tensor, importance: torch.Tensor | None) -> torch.Tensor:
        dtype = getattr(torch, dtype_name)
        return x.to(torch.float32).to(dtype).contiguous().view(torch.uint8)

    return encode


def _row(name: str, ggml_id: int | None, n_bytes: int, dtype_name: str) -> Format:
    return Format(name, ggml_id, 1, n_bytes, _decoder(dtype_name), _encoder(dtype_name))


def _encode_bf16(x: torch.Tensor, importance: torch.Tensor | None) -> torch.Tensor:
    """A NaN keeps its sign and upper bits and becomes a quiet one, as in GGML; torch makes all NaNs one."""
    x = x.to(torch.float32).contiguous()
    quiet = (x.view(torch.int32) >> 16 | 64).to(torch.int16).view(torch.bfloat16)
    return torch.where(x.isnan(), quiet, x.to(torch.bfloat16)).contiguous().view(torch.uint8)


ROWS = (
    _row("F32", 0, 4, "float32"),
    _row("F16", 1, 2, "float16"),
    Format("BF16", 30, 1, 2, _decoder("bfloat16"), _encode_bf16),
    _row("F8_E4M3", None, 1, "float8_e4m3fn"),
    _row("F8_E5M2", None, 1, "float8_e5m2"),
)
