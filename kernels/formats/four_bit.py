"""Formats whose 4-bit codes look up one of 16 values.

    IQ4_NL  [d][qs 16]                        32 elements, x = d * LEVELS[q]                    4.5 bits per weight
    IQ4_XS  [d][high u16][low 4][qs 128]      256 elements, six-bit scales for 32 of them
                                              x = d * (sc - 32) * LEVELS[q]                     4.25
    MXFP4   [e u8][qs 16]                     32 elements, x = 2^(e - 128) * E2M1[q]            4.25
    NVFP4   [e 4 x u8][qs 32]                 64 elements, for 16 of them one unsigned E4M3 scale
                                              x = e4m3 / 2 * E2M1[q]                            4.5

Layouts are ``block_iq4_nl`` and so on in ggml-common.h. E2M1 holds the doubled values of the four-bit floats of the
OCP Microscaling specification, so that they are whole numbers; the halves are in the scales.
"""

from __future__ import annotations

from ..lazy import torch
from .base import Format
from .fields import bits, half, nibbles, u8, u16

LEVELS = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
E2M1 = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)


def decode_iq4_nl(blocks: torch.Tensor) -> torch.Tensor:
    return half(blocks, 0) * _look_up(LEVELS, nibbles(blocks, 2, 16))


def decode_iq4_xs(blocks: torch.Tensor) -> torch.Tensor:
    low = bits(u8(blocks, 4, 4), [0, 4], 15).reshape(-1, 8)
    high = bits(u16(blocks, 2, 1), list(range(0, 16, 2)), 3).reshape(-1, 8)
    scale = half(blocks, 0) * ((low | high << 4) - 32)
    q = bits(u8(blocks, 8, 128).reshape(-1, 8, 16), [0, 4], 15).transpose(2, 3).reshape(-1, 8, 32)
    return (scale[..., None] * _look_up(LEVELS, q)).reshape(-1, 256)


def decode_mxfp4(blocks: torch.Tensor) -> torch.Tensor:
    exponent = u8(blocks, 0, 1)
    # 2^(e - 128) as float32 bits: for e below 2 a denormal number.
    pattern = torch.where(exponent < 2, 0x00200000 << exponent.clamp(max=1), (exponent - 1).clamp(min=0) << 23)
    return pattern.view(torch.float32) * _look_up(E2M1, nibbles(blocks, 1, 16))


def decode_nvfp4(blocks: torch.Tensor) -> torch.Tensor:
    scale = _unsigned_e4m3(u8(blocks, 0, 4)) * 0.5
    q = bits(u8(blocks, 4, 32).reshape(-1, 4, 8), [0, 4], 15).transpose(2, 3).reshape(-1, 4, 16)
    return (scale[..., None] * _look_up(E2M1, q)).reshape(-1, 64)


def _look_up(levels: tuple[int, ...], q: torch.Tensor) -> torch.Tensor:
    return torch.tensor(levels, dtype=torch.float32, device=q.device)[q.long()]


def _unsigned_e4m3(code: torch.Tensor) -> torch.Tensor:
    """Four bits of exponent with bias 7, three of mantissa; the sign bit is not read, and 0x7F counts as zero."""
    exponent, mantissa = code >> 3 & 15, (code & 7).to(torch.float32)
    normal = (1 + mantissa / 8) * torch.exp2((exponent - 7).to(torch.float32))
    value = torch.where(exponent == 0, mantissa * 2**-9, normal)
    return torch.where(code == 0x7F, torch.zeros_like(value), value)


ROWS = (
    Format("IQ4_NL", 20, 32, 18, decode_iq4_nl),
    Format("IQ4_XS", 23, 256, 136, decode_iq4_xs),
    Format("MXFP4", 39, 32, 17, decode_mxfp4),
    Format("NVFP4", 40, 64, 36, decode_nvfp4),
)
