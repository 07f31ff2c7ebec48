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

from functools import partial

from ..lazy import torch
from .base import Format
from .fields import bits, half, nibbles, put_half, u8, u16
from .search import best_neighbours, block_weights, code_scale, inverse, rounded_half

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


def encode_iq4_nl(x: torch.Tensor, importance: torch.Tensor | None) -> torch.Tensor:
    weights = _lookup_weights(x, importance)
    d = rounded_half(code_scale(x, weights, partial(_nearest, LEVELS), _ENDS))
    return torch.cat((put_half(d), _pack_nibbles(_codes(LEVELS, x * inverse(d)))), dim=1)


def encode_iq4_xs(x: torch.Tensor, importance: torch.Tensor | None) -> torch.Tensor:
    n = len(x)
    subs, weights = x.reshape(-1, 32), _lookup_weights(x, importance).reshape(-1, 32)
    scales = code_scale(subs, weights, partial(_nearest, LEVELS), _ENDS).reshape(n, 8)
    extreme = scales.gather(1, scales.abs().argmax(dim=1, keepdim=True))
    trials = [_xs_codes(subs, weights, scales, rounded_half(extreme / multiple)) for multiple in _XS_MULTIPLES]
    errors, ds, codes = (torch.stack(part) for part in zip(*trials, strict=True))
    best = errors.argmin(0, keepdim=True)
    d, code = ds.take_along_dim(best, 0)[0], codes.take_along_dim(best, 0)[0]
    q = _codes(LEVELS, x.reshape(n, 8, 32) * inverse(d * code)[..., None])
    stored = code.to(torch.int32) + 32
    high = ((stored >> 4) << 2 * torch.arange(8, device=x.device, dtype=torch.int32)).sum(1, keepdim=True)
    low = stored[:, 0::2] & 15 | (stored[:, 1::2] & 15) << 4
    head = torch.cat((high & 255, high >> 8, low), dim=1).to(torch.uint8)
    return torch.cat((put_half(d), head, _pack_nibbles(q.reshape(-1, 32)).reshape(n, 128)), dim=1)


def _xs_codes(
    subs: torch.Tensor, weights: torch.Tensor, scales: torch.Tensor, d: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """With the block's scale d (n, 1): the error (n, 1), d, and the codes (n, 8) of ``scales``."""
    steps = d.repeat_interleave(8, 0)

    def made(code: torch.Tensor) -> torch.Tensor:
        return steps * code * _nearest(LEVELS, subs * inverse(steps * code))

    code = (scales * inverse(d)).round().clamp(-32, 31).reshape(-1, 1)
    (code,) = best_neighbours(subs, weights, [code], [(-32, 31)], made)
    error = (weights * (subs - made(code)).square()).reshape(len(d), -1).sum(1, keepdim=True)
    return error, d, code.reshape(scales.shape)


def encode_mxfp4(x: torch.Tensor, importance: torch.Tensor | None) -> torch.Tensor:
    """The exponent with which the largest element is 4 to 6 times the scale, or one beside it that fits better."""
    largest = x.abs().amax(1, keepdim=True)
    exponent = torch.where(largest > 0, largest.log2().floor() - 2 + 127, torch.zeros_like(largest)).clamp(0, 254)
    weights = torch.ones_like(x) if importance is None else importance

    def made(code: torch.Tensor) -> torch.Tensor:
        d = torch.exp2((code - 128).double()).float()
        return d * _nearest(E2M1, x * inverse(d))

    (exponent,) = best_neighbours(x, weights, [exponent], [(0, 254)], made)
    d = torch.exp2((exponent - 128).double()).float()
    return torch.cat((exponent.to(torch.uint8), _pack_nibbles(_codes(E2M1, x * inverse(d)))), dim=1)


def encode_nvfp4(x: torch.Tensor, importance: torch.Tensor | None) -> torch.Tensor:
    n = len(x)
    subs = x.reshape(-1, 16)
    weights = torch.ones_like(subs) if importance is None else importance.reshape(-1, 16)
    table = _unsigned_e4m3(torch.arange(127, dtype=torch.int32, device=x.device)) * 0.5
    wanted = subs.abs().amax(1, keepdim=True) / 12
    code = torch.searchsorted(table, wanted).clamp(max=126).to(torch.float32)

    def made(code: torch.Tensor) -> torch.Tensor:
        d = table[code.long()]
        return d * _nearest(E2M1, subs * inverse(d))

    for _ in range(2):
        (code,) = best_neighbours(subs, weights, [code], [(0, 126)], made)
    q = _codes(E2M1, subs * inverse(table[code.long()]))
    return torch.cat((code.reshape(n, 4).to(torch.uint8), _pack_nibbles(q).reshape(n, 32)), dim=1)


def _lookup_weights(x: torch.Tensor, importance: torch.Tensor | None) -> torch.Tensor:
    """Levels are far apart where elements are large, so without an importance these count for more."""
    if importance is not None:
        return block_weights(x, importance, group=32)
    subs = x.reshape(-1, 32)
    return (subs.square().mean(1, keepdim=True).sqrt() + subs.abs()).reshape(x.shape)


def _codes(levels: tuple[int, ...], x: torch.Tensor) -> torch.Tensor:
    """int32: which of ``levels`` each element is nearest to; of two at the same distance the lower one."""
    order = sorted(range(len(levels)), key=lambda i: (levels[i], i))
    values = torch.tensor([levels[i] for i in order], dtype=torch.float32, device=x.device)
    at = torch.searchsorted((values[1:] + values[:-1]) / 2, x.contiguous())
    return torch.tensor(order, dtype=torch.int32, device=x.device)[at]


def _nearest(levels: tuple[int, ...], x: torch.Tensor) -> torch.Tensor:
    return _look_up(levels, _codes(levels, x))


def _pack_nibbles(q: torch.Tensor) -> torch.Tensor:
    """int32 (n, 2 m) -> uint8 (n, m): the first half in the low halves."""
    low, high = q.chunk(2, dim=1)
    return (low | high << 4).to(torch.uint8)


_ENDS = tuple(float(LEVELS[0] + 2 * i) for i in range(-9, 10))  # what the largest element may become
_XS_MULTIPLES = tuple(range(-32, -24))  # of the block's scale that the largest scale may become

ROWS = (
    Format("IQ4_NL", 20, 32, 18, decode_iq4_nl, encode_iq4_nl),
    Format("IQ4_XS", 23, 256, 136, decode_iq4_xs, encode_iq4_xs),
    Format("MXFP4", 39, 32, 17, decode_mxfp4, encode_mxfp4),
    Format("NVFP4", 40, 64, 36, decode_nvfp4, encode_nvfp4),
)
