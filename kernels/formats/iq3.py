"""Three-bit IQ formats of GGML: 256 elements, groups of 4 magnitudes from a grid, with signs.

Layouts are ``block_iq3_xxs`` and ``block_iq3_s`` in ggml-common.h; d is float16.

    IQ3_XXS  [d][qs 64][8 x u32]   u32: 4 x 7 sign bits, 4 bits sc; for 32 elements
             x = d * (sc + 1/2) / 2 * grid * sign                                         3.0625 bits per weight
    IQ3_S    [d][qs 64][qh 8][signs 32][scales 4]   qh: the ninth bits of the indices; sc: a nibble for 32 elements
             x = d * (1 + 2 * sc) * grid * sign                                           3.4375

Seven sign bits mean eight with even parity (``grids.parity_signs``).
"""

from __future__ import annotations

from ..lazy import torch
from .base import Format
from .fields import bits, half, put_half, signs, u8, u32
from .grid_search import Coding, grid_codes
from .grids import grid, parity_signs
from .iq2 import pack_signs_and_scale

BLOCK = 256


def decode_iq3_xxs(blocks: torch.Tensor) -> torch.Tensor:
    words = u32(blocks, 66, 8)
    scale = half(blocks, 0) * (0.5 + (words >> 28)) * 0.5
    masks = parity_signs(blocks.device)[bits(words, [0, 7, 14, 21], 127)]
    return _values(scale, "IQ3_XXS", u8(blocks, 2, 64), signs(masks))


def decode_iq3_s(blocks: torch.Tensor) -> torch.Tensor:
    sc = bits(u8(blocks, 106, 4), [0, 4], 15).reshape(-1, 8)
    scale = half(blocks, 0) * (1 + 2 * sc)
    index = u8(blocks, 2, 64) | bits(u8(blocks, 66, 8), list(range(8)), 1).reshape(-1, 64) << 8
    return _values(scale, "IQ3_S", index, signs(u8(blocks, 74, 32)))


def _values(scale: torch.Tensor, name: str, index: torch.Tensor, sign: torch.Tensor) -> torch.Tensor:
    """scale (n_blocks, 8), index (n_blocks, 64) into the grid ``name``, sign of 256 elements in order."""
    magnitudes = grid(name, index.device)[index.long()].reshape(-1, 8, 32)
    return (scale[..., None] * magnitudes * sign.reshape(-1, 8, 32)).reshape(-1, BLOCK)


def encode_iq3_xxs(x: torch.Tensor, importance: torch.Tensor | None) -> torch.Tensor:
    codes = grid_codes(x, importance, _XXS)
    return torch.cat((put_half(codes.d), codes.index.to(torch.uint8), pack_signs_and_scale(codes)), dim=1)


def encode_iq3_s(x: torch.Tensor, importance: torch.Tensor | None) -> torch.Tensor:
    codes = grid_codes(x, importance, _S)
    shifts = torch.arange(8, device=x.device, dtype=torch.int32)
    ninth = (codes.index.reshape(-1, 8, 8) >> 8 << shifts).sum(2)
    scale = codes.scale[:, 0::2] | codes.scale[:, 1::2] << 4
    fields = (part.to(torch.uint8) for part in (codes.index & 255, ninth, codes.signs, scale))
    return torch.cat((put_half(codes.d), *fields), dim=1)


_XXS = Coding("IQ3_XXS", n_octets=4, n_scales=16, unit=0.25, is_even=True)
_S = Coding("IQ3_S", n_octets=4, n_scales=16, unit=1.0)

ROWS = (
    Format("IQ3_XXS", 18, BLOCK, 98, decode_iq3_xxs, encode_iq3_xxs),
    Format("IQ3_S", 21, BLOCK, 110, decode_iq3_s, encode_iq3_s),
)
