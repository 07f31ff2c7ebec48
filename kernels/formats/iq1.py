"""One-bit formats of GGML: 256 elements, groups of 8 taken from a grid of values -1, 0, 1, shifted by a delta.

Layouts are ``block_iq1_s`` and ``block_iq1_m`` in ggml-common.h; x = d * (2 * sc + 1) * (grid + delta), delta = ±1/8.

    IQ1_S  [d][qs 32][qh 8 x u16]    qh: 4 x 3 high index bits, 3 bits sc, sign of delta; for 32 elements
                                                                                      1.5625 bits per weight
    IQ1_M  [qs 32][qh 16][scales 4 x u16]   qh: nibbles of 3 high index bits and the sign of delta, for 8 elements;
           scales: 4 x 3 bits sc for 16 elements each, and a quarter of the float16 d      1.75
"""

from __future__ import annotations

from ..lazy import torch
from .base import Format
from .fields import bits, half, put_half, put_words, u8, u16
from .grid_search import Coding, grid_codes
from .grids import grid

BLOCK = 256
DELTA = 0.125


def decode_iq1_s(blocks: torch.Tensor) -> torch.Tensor:
    qh = u16(blocks, 34, 8)
    scale = half(blocks, 0) * (2 * (qh >> 12 & 7) + 1)
    delta = torch.where(qh & 0x8000 == 0, DELTA, -DELTA)
    index = u8(blocks, 2, 32).reshape(-1, 8, 4) | bits(qh, [0, 3, 6, 9], 7) << 8
    values = grid("IQ1", blocks.device)[index.long()] + delta[..., None, None]
    return (scale[..., None, None] * values).reshape(-1, BLOCK)


def decode_iq1_m(blocks: torch.Tensor) -> torch.Tensor:
    packed = u16(blocks, 48, 4)
    quarters = (packed >> 12) << torch.tensor([0, 4, 8, 12], dtype=torch.int32, device=blocks.device)
    d = quarters.sum(dim=1, keepdim=True).to(torch.int16).view(torch.float16).to(torch.float32)
    scale = d * (2 * bits(packed, [0, 3, 6, 9], 7).reshape(-1, 16) + 1)
    qh = bits(u8(blocks, 32, 16), [0, 4], 15).reshape(-1, 32)
    delta = torch.where(qh & 8 == 0, DELTA, -DELTA)
    index = u8(blocks, 0, 32) | (qh & 7) << 8
    values = grid("IQ1", blocks.device)[index.long()] + delta[..., None]
    return (scale[..., None] * values.reshape(-1, 16, 16)).reshape(-1, BLOCK)


def encode_iq1_s(x: torch.Tensor, importance: torch.Tensor | None) -> torch.Tensor:
    codes = grid_codes(x, importance, _S)
    shifts = torch.arange(0, 12, 3, device=x.device, dtype=torch.int32)
    high = (codes.index.reshape(-1, 8, 4) >> 8 << shifts).sum(2)
    words = put_words(high | codes.scale << 12 | codes.is_down[:, ::4] << 15, 2)
    return torch.cat((put_half(codes.d), (codes.index & 255).to(torch.uint8), words), dim=1)


def encode_iq1_m(x: torch.Tensor, importance: torch.Tensor | None) -> torch.Tensor:
    codes = grid_codes(x, importance, _M)
    nibbles = codes.index >> 8 | codes.is_down << 3
    high = nibbles[:, 0::2] | nibbles[:, 1::2] << 4
    shifts = torch.arange(0, 12, 3, device=x.device, dtype=torch.int32)
    quarters = bits(u16(put_half(codes.d), 0, 1), [0, 4, 8, 12], 15).reshape(-1, 4)
    words = put_words((codes.scale.reshape(-1, 4, 4) << shifts).sum(2) | quarters << 12, 2)
    return torch.cat(((codes.index & 255).to(torch.uint8), high.to(torch.uint8), words), dim=1)


_S = Coding("IQ1", n_octets=4, n_scales=8, unit=1.0, delta=DELTA, shares_delta=True, first=0.3, ratio=1.29)
_M = Coding("IQ1", n_octets=2, n_scales=8, unit=1.0, delta=DELTA, first=0.3, ratio=1.29)

ROWS = (
    Format("IQ1_S", 19, BLOCK, 50, decode_iq1_s, encode_iq1_s),
    Format("IQ1_M", 29, BLOCK, 56, decode_iq1_m, encode_iq1_m),
)
