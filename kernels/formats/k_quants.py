"""The k-quants of GGML: 256 elements in sub-blocks, whose scales (and minima) are quantized themselves.

Layouts are ``block_q2_K`` and so on in ggml-common.h; d and dmin are float16. Sub-block scale sc, minimum m:

    Q2_K  [scales 16][qs 64][d][dmin]               16 x 16  x = d * sc * q - dmin * m      2.625 bits per weight
    Q3_K  [hmask 32][qs 64][scales 12][d]           16 x 16  x = d * sc * (q - 4)           3.4375
    Q4_K  [d][dmin][scales 12][qs 128]               8 x 32  x = d * sc * q - dmin * m      4.5
    Q5_K  [d][dmin][scales 12][qh 32][qs 128]        8 x 32  x = d * sc * q - dmin * m      5.5
    Q6_K  [ql 128][qh 64][scales 16][d]             16 x 16  x = d * sc * (q - 32)          6.5625
"""

from __future__ import annotations

from ..lazy import torch
from .base import Format
from .fields import bits, half, i8, u8

BLOCK = 256


def decode_q2_k(blocks: torch.Tensor) -> torch.Tensor:
    packed = u8(blocks, 0, 16)[..., None]
    q = _quarters(blocks, 16).reshape(-1, 16, 16)
    scale = half(blocks, 80)[..., None] * (packed & 15)
    return (scale * q - half(blocks, 82)[..., None] * (packed >> 4)).reshape(-1, BLOCK)


def decode_q3_k(blocks: torch.Tensor) -> torch.Tensor:
    # Bit b of hmask byte j is the high bit of element 32 * b + j.
    high = bits(u8(blocks, 0, 32), list(range(8)), 1).transpose(1, 2).reshape(-1, BLOCK)
    q = (_quarters(blocks, 32) | high << 2) - 4
    scale = half(blocks, 108) * (_q3_k_scales(blocks) - 32)
    return (scale[..., None] * q.reshape(-1, 16, 16)).reshape(-1, BLOCK)


def decode_q4_k(blocks: torch.Tensor) -> torch.Tensor:
    q = _halves(blocks, 16)
    return _scale_and_minimum(blocks, q)


def decode_q5_k(blocks: torch.Tensor) -> torch.Tensor:
    high = bits(u8(blocks, 16, 32), list(range(8)), 1).transpose(1, 2)
    return _scale_and_minimum(blocks, _halves(blocks, 48) | high << 4)


def decode_q6_k(blocks: torch.Tensor) -> torch.Tensor:
    # Two halves of 128: 64 bytes of low nibbles and 32 bytes of four high bit pairs each.
    low = bits(u8(blocks, 0, 128).reshape(-1, 2, 64), [0, 4], 15).permute(0, 1, 3, 2).reshape(-1, 2, 4, 32)
    high = bits(u8(blocks, 128, 64).reshape(-1, 2, 32), [0, 2, 4, 6], 3).permute(0, 1, 3, 2)
    q = (low | high << 4) - 32
    scale = half(blocks, 208) * i8(blocks, 192, 16)
    return (scale[..., None] * q.reshape(-1, 16, 16)).reshape(-1, BLOCK)


def _quarters(blocks: torch.Tensor, at: int) -> torch.Tensor:
    """64 bytes as 256 bit pairs: pair s of the 32 bytes of each half is elements 32 * s onward of that half."""
    q = u8(blocks, at, 64).reshape(-1, 2, 32)
    return bits(q, [0, 2, 4, 6], 3).permute(0, 1, 3, 2).reshape(-1, BLOCK)


def _halves(blocks: torch.Tensor, at: int) -> torch.Tensor:
    """128 bytes as nibbles (n_blocks, 8, 32): 32 bytes hold two sub-blocks, low halves first."""
    q = u8(blocks, at, 128).reshape(-1, 4, 32)
    return bits(q, [0, 4], 15).permute(0, 1, 3, 2).reshape(-1, 8, 32)


def _q3_k_scales(blocks: torch.Tensor) -> torch.Tensor:
    """16 six-bit scales in 12 bytes: low nibbles in the first 8, bit pairs for the high ends in the last 4."""
    packed = u8(blocks, 96, 12)
    low = torch.cat((packed[:, :8] & 15, packed[:, :8] >> 4), dim=1)
    high = bits(packed[:, 8:], [0, 2, 4, 6], 3).transpose(1, 2).reshape(-1, 16)
    return low | high << 4


def _scale_and_minimum(blocks: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """Q4_K and Q5_K: 8 six-bit scales and 8 minima in 12 bytes (``get_scale_min_k4`` in ggml-quants.c)."""
    packed = u8(blocks, 4, 12)
    first, second, last = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scale = torch.cat((first & 63, last & 15 | first >> 6 << 4), dim=1)
    minimum = torch.cat((second & 63, last >> 4 | second >> 6 << 4), dim=1)
    d, dmin = half(blocks, 0) * scale, half(blocks, 2) * minimum
    return (d[..., None] * q - dmin[..., None]).reshape(-1, BLOCK)


ROWS = (
    Format("Q2_K", 10, BLOCK, 84, decode_q2_k),
    Format("Q3_K", 11, BLOCK, 110, decode_q3_k),
    Format("Q4_K", 12, BLOCK, 144, decode_q4_k),
    Format("Q5_K", 13, BLOCK, 176, decode_q5_k),
    Format("Q6_K", 14, BLOCK, 210, decode_q6_k),
)
