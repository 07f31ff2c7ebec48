"""Ternary formats of GGML: 256 elements -1, 0, 1 times a float16 scale.

Layouts are ``block_tq1_0`` and ``block_tq2_0`` in ggml-common.h.

    TQ1_0  [qs 48][qh 4][d]   a byte holds 5 digits (qh: 4) as a fraction of 3^5: times 3^i, the i-th digit is what
                              passes 256. Bytes 0-31 hold digit i of elements 32 * i on, 32-47 those after, 16 at a
                              time, qh the last 16                                         1.6875 bits per weight
    TQ2_0  [qs 64][d]         bit pairs q: x = d * (q - 1)                                 2.0625
"""

from __future__ import annotations

from ..lazy import torch
from .base import Format
from .fields import bits, half, put_half, u8
from .search import inverse

BLOCK = 256
POWERS = (1, 3, 9, 27, 81)


def decode_tq1_0(blocks: torch.Tensor) -> torch.Tensor:
    parts = [_digits(u8(blocks, 0, 32), 5), _digits(u8(blocks, 32, 16), 5), _digits(u8(blocks, 48, 4), 4)]
    return half(blocks, 52) * (torch.cat(parts, dim=1) - 1)


def decode_tq2_0(blocks: torch.Tensor) -> torch.Tensor:
    q = bits(u8(blocks, 0, 64).reshape(-1, 2, 32), [0, 2, 4, 6], 3).transpose(2, 3)
    return half(blocks, 64) * (q.reshape(-1, BLOCK) - 1)


def _digits(packed: torch.Tensor, n: int) -> torch.Tensor:
    """Bytes (n_blocks, m) -> base-3 digits (n_blocks, n * m), the first digit of all bytes first."""
    powers = torch.tensor(POWERS[:n], dtype=torch.int32, device=packed.device)[:, None]
    return ((packed[:, None, :] * powers & 255) * 3 >> 8).flatten(1)


def encode_tq1_0(x: torch.Tensor, importance: torch.Tensor | None) -> torch.Tensor:
    d, q = _ternary(x)
    parts = (_pack_digits(q[:, :160], 5), _pack_digits(q[:, 160:240], 5), _pack_digits(q[:, 240:], 4))
    return torch.cat((*parts, put_half(d)), dim=1)


def encode_tq2_0(x: torch.Tensor, importance: torch.Tensor | None) -> torch.Tensor:
    d, q = _ternary(x)
    shifts = 2 * torch.arange(4, device=x.device, dtype=torch.int32)[:, None]
    packed = (q.reshape(-1, 2, 4, 32) << shifts).sum(2).reshape(-1, 64)
    return torch.cat((packed.to(torch.uint8), put_half(d)), dim=1)


def _ternary(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """d float32 (n, 1), the largest magnitude, and int32 (n, 256) of 0 to 2. Made for weights that are ternary."""
    d = x.abs().amax(1, keepdim=True)
    scaled = x * inverse(d)
    return d, ((scaled.abs() >= 0.5) * scaled.sign()).to(torch.int32) + 1


def _pack_digits(q: torch.Tensor, n: int) -> torch.Tensor:
    """int32 (n_blocks, n * m) of 0 to 2 -> uint8 (n_blocks, m): the fraction of 3^5 that n digits are, rounded up."""
    digits = q.reshape(len(q), n, -1)
    weights = torch.tensor(POWERS[::-1][:n], dtype=torch.int32, device=q.device)[:, None]
    return (((digits * weights).sum(1) * 256 + 242) // 243).to(torch.uint8)


ROWS = (
    Format("TQ1_0", 34, BLOCK, 54, decode_tq1_0, encode_tq1_0, weighs=False),
    Format("TQ2_0", 35, BLOCK, 66, decode_tq2_0, encode_tq2_0, weighs=False),
)
