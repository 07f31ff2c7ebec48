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
from .fields import bits, half, u8

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


ROWS = (
    Format("TQ1_0", 34, BLOCK, 54, decode_tq1_0),
    Format("TQ2_0", 35, BLOCK, 66, decode_tq2_0),
)
