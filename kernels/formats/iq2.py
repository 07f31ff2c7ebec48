"""Two-bit IQ formats of GGML: 256 elements, groups of 8 magnitudes from a grid, with signs.

Layouts are ``block_iq2_xxs`` and so on in ggml-common.h; x = d * (sc + 1/2) / 4 * grid * sign, d is float16.

    IQ2_XXS  [d][8 x (4 x u8 index, u32)]      u32: 4 x 7 sign bits, 4 bits sc; for 32 elements   2.0625 bits per weight
    IQ2_XS   [d][qs 32 x u16][scales 8]         u16: 9 bits index, 7 sign bits                     2.3125
    IQ2_S    [d][qs 32][signs 32][qh 8][scales 8]   qh: 4 x 2 high index bits                      2.5625

Scales are nibbles for 16 elements each. Seven sign bits mean eight with even parity (``grids.parity_signs``).
"""

from __future__ import annotations

from ..lazy import torch
from .base import Format
from .fields import bits, half, signs, u8, u16, u32
from .grids import grid, parity_signs

BLOCK = 256


def decode_iq2_xxs(blocks: torch.Tensor) -> torch.Tensor:
    words = u32(blocks, 2, 16).reshape(-1, 8, 2)
    index = u8(blocks, 2, 64).reshape(-1, 8, 8)[..., :4]
    scale = half(blocks, 0) * (0.5 + (words[..., 1] >> 28)) * 0.25
    masks = parity_signs(blocks.device)[bits(words[..., 1], [0, 7, 14, 21], 127)]
    values = scale[..., None, None] * grid("IQ2_XXS", blocks.device)[index.long()] * signs(masks)
    return values.reshape(-1, BLOCK)


def decode_iq2_xs(blocks: torch.Tensor) -> torch.Tensor:
    qs = u16(blocks, 2, 32)
    masks = parity_signs(blocks.device)[(qs >> 9).long()]
    magnitudes = grid("IQ2_XS", blocks.device)[(qs & 511).long()]
    return _scaled(blocks, 66, magnitudes, signs(masks))


def decode_iq2_s(blocks: torch.Tensor) -> torch.Tensor:
    high = bits(u8(blocks, 66, 8), [0, 2, 4, 6], 3).reshape(-1, 32)
    index = u8(blocks, 2, 32) | high << 8
    magnitudes = grid("IQ2_S", blocks.device)[index.long()]
    return _scaled(blocks, 74, magnitudes, signs(u8(blocks, 34, 32)))


def _scaled(blocks: torch.Tensor, scales_at: int, magnitudes: torch.Tensor, sign: torch.Tensor) -> torch.Tensor:
    """magnitudes and sign (n_blocks, 32, 8); 8 bytes at ``scales_at`` hold 16 four-bit scales."""
    sc = bits(u8(blocks, scales_at, 8), [0, 4], 15).reshape(-1, 16)
    scale = half(blocks, 0) * (0.5 + sc) * 0.25
    values = scale[..., None, None] * magnitudes.reshape(-1, 16, 2, 8) * sign.reshape(-1, 16, 2, 8)
    return values.reshape(-1, BLOCK)


ROWS = (
    Format("IQ2_XXS", 16, BLOCK, 66, decode_iq2_xxs),
    Format("IQ2_XS", 17, BLOCK, 74, decode_iq2_xs),
    Format("IQ2_S", 22, BLOCK, 82, decode_iq2_s),
)
