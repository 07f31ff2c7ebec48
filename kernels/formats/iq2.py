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
from .fields import bits, half, put_half, put_words, signs, u8, u16, u32
from .grid_search import Coding, GridCodes, grid_codes
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


def encode_iq2_xxs(x: torch.Tensor, importance: torch.Tensor | None) -> torch.Tensor:
    codes = grid_codes(x, importance, _XXS)
    signs_and_scale = pack_signs_and_scale(codes).reshape(-1, 8, 4)
    index = codes.index.reshape(-1, 8, 4).to(torch.uint8)
    return torch.cat((put_half(codes.d), torch.cat((index, signs_and_scale), dim=2).flatten(1)), dim=1)


def encode_iq2_xs(x: torch.Tensor, importance: torch.Tensor | None) -> torch.Tensor:
    codes = grid_codes(x, importance, _XS)
    words = put_words(codes.index | (codes.signs & 127) << 9, 2)
    return torch.cat((put_half(codes.d), words, _pack_scales(codes)), dim=1)


def encode_iq2_s(x: torch.Tensor, importance: torch.Tensor | None) -> torch.Tensor:
    codes = grid_codes(x, importance, _S)
    shifts = torch.arange(0, 8, 2, device=x.device, dtype=torch.int32)
    high = (codes.index.reshape(-1, 8, 4) >> 8 << shifts).sum(2)
    fields = (part.to(torch.uint8) for part in (codes.index & 255, codes.signs, high))
    return torch.cat((put_half(codes.d), *fields, _pack_scales(codes)), dim=1)


def pack_signs_and_scale(codes: GridCodes) -> torch.Tensor:
    """Four times seven sign bits and a scale of four: uint8 (n, 8 words of 4 bytes)."""
    shifts = torch.tensor([0, 7, 14, 21], device=codes.signs.device)
    words = ((codes.signs.reshape(-1, 8, 4) & 127).to(torch.int64) << shifts).sum(2)
    return put_words(words | codes.scale.to(torch.int64) << 28, 4)


def _pack_scales(codes: GridCodes) -> torch.Tensor:
    return (codes.scale[:, 0::2] | codes.scale[:, 1::2] << 4).to(torch.uint8)


_XXS = Coding("IQ2_XXS", n_octets=4, n_scales=16, unit=0.125, is_even=True)
_XS = Coding("IQ2_XS", n_octets=2, n_scales=16, unit=0.125, is_even=True)
_S = Coding("IQ2_S", n_octets=2, n_scales=16, unit=0.125)

ROWS = (
    Format("IQ2_XXS", 16, BLOCK, 66, decode_iq2_xxs, encode_iq2_xxs),
    Format("IQ2_XS", 17, BLOCK, 74, decode_iq2_xs, encode_iq2_xs),
    Format("IQ2_S", 22, BLOCK, 82, decode_iq2_s, encode_iq2_s),
)
