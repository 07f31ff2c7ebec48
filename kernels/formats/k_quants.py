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
from .fields import bits, half, i8, put_half, u8
from .search import affine_scale, best_neighbours, block_weights, inverse, rounded_half, symmetric_scale

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


def encode_q2_k(x: torch.Tensor, importance: torch.Tensor | None) -> torch.Tensor:
    d, dmin, scale, minimum, q = _affine_codes(x, importance, n_subs=16, high=3, top=15, span=(-0.9, 0.1, 19))
    packed = (scale | minimum << 4).to(torch.uint8)
    return torch.cat((packed, _pack_quarters(q), put_half(d), put_half(dmin)), dim=1)


def encode_q3_k(x: torch.Tensor, importance: torch.Tensor | None) -> torch.Tensor:
    d, scale, q = _symmetric_codes(x, importance, low=-4, high=3, scale_low=-32, scale_high=31)
    q, scale = q + 4, scale + 32
    high = _pack_bits((q >> 2).reshape(-1, 8, 32))
    low = torch.cat((scale[:, :8] & 15 | (scale[:, 8:] & 15) << 4, _pack_pairs((scale >> 4).reshape(-1, 4, 4))), dim=1)
    return torch.cat((high, _pack_quarters(q & 3), low.to(torch.uint8), put_half(d)), dim=1)


def encode_q4_k(x: torch.Tensor, importance: torch.Tensor | None) -> torch.Tensor:
    d, dmin, scale, minimum, q = _affine_codes(x, importance, n_subs=8, high=15, top=63, span=(-0.9, 0.075, 25))
    head = (put_half(d), put_half(dmin), _pack_scales(scale, minimum))
    return torch.cat((*head, _pack_halves(q)), dim=1)


def encode_q5_k(x: torch.Tensor, importance: torch.Tensor | None) -> torch.Tensor:
    d, dmin, scale, minimum, q = _affine_codes(x, importance, n_subs=8, high=31, top=63, span=(-0.9, 0.075, 25))
    head = (put_half(d), put_half(dmin), _pack_scales(scale, minimum))
    return torch.cat((*head, _pack_bits((q >> 4).reshape(-1, 8, 32)), _pack_halves(q & 15)), dim=1)


def encode_q6_k(x: torch.Tensor, importance: torch.Tensor | None) -> torch.Tensor:
    d, scale, q = _symmetric_codes(x, importance, low=-32, high=31, scale_low=-128, scale_high=127)
    q = (q + 32).reshape(-1, 2, 4, 32)  # halves of 128, of which 32 elements lie in each nibble and bit pair
    nibbles, pairs = q & 15, q >> 4
    low = (nibbles[:, :, :2] | nibbles[:, :, 2:] << 4).reshape(-1, 128)
    high = (pairs << torch.tensor([0, 2, 4, 6])[:, None]).sum(2).reshape(-1, 64)
    signed = scale.to(torch.int8).contiguous().view(torch.uint8)
    return torch.cat((low.to(torch.uint8), high.to(torch.uint8), signed, put_half(d)), dim=1)


def _affine_codes(
    x: torch.Tensor,
    importance: torch.Tensor | None,
    *,
    n_subs: int,
    high: int,
    top: int,
    span: tuple[float, float, int],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """x (n, 256) ~ d * scale * q - dmin * minimum: d, dmin float32 (n, 1), scale, minimum int32 (n, n_subs) from 0 to
    ``top``, q int32 (n, 256) from 0 to ``high``."""
    n, size = len(x), BLOCK // n_subs
    subs, weights = x.reshape(-1, size), block_weights(x, importance, group=size).reshape(-1, size)
    found = affine_scale(subs, weights, high, span=span)
    scales, minima = found[0].reshape(n, n_subs), -found[1].reshape(n, n_subs)
    d, dmin = (rounded_half(part.amax(1, keepdim=True) / top) for part in (scales, minima))
    codes = [(part * inverse(by)).round().clamp(0, top).reshape(-1, 1) for part, by in ((scales, d), (minima, dmin))]
    steps, floors = (by.repeat_interleave(n_subs, 0) for by in (d, dmin))

    def quantized(scale: torch.Tensor, minimum: torch.Tensor) -> torch.Tensor:
        return ((subs + floors * minimum) * inverse(steps * scale)).round().clamp(0, high)

    def made(scale: torch.Tensor, minimum: torch.Tensor) -> torch.Tensor:
        return steps * scale * quantized(scale, minimum) - floors * minimum

    scale, minimum = best_neighbours(subs, weights, codes, [(0, top)] * 2, made)
    q = quantized(scale, minimum).reshape(n, BLOCK)
    scale, minimum, q = (part.to(torch.int32) for part in (scale.reshape(n, -1), minimum.reshape(n, -1), q))
    return d, dmin, scale, minimum, q


def _symmetric_codes(
    x: torch.Tensor, importance: torch.Tensor | None, *, low: int, high: int, scale_low: int, scale_high: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x (n, 256) ~ d * scale * q: d float32 (n, 1), scale int32 (n, 16), q int32 (n, 256)."""
    n = len(x)
    subs = x.reshape(-1, 16)
    weights = block_weights(x, importance, group=16)
    weights = weights.reshape(-1, 16)
    scales = symmetric_scale(subs, weights, low, high).reshape(n, 16)
    extreme = scales.gather(1, scales.abs().argmax(dim=1, keepdim=True))
    d = rounded_half(extreme / scale_low)
    steps = d.repeat_interleave(16, 0)
    code = (scales * inverse(d)).round().clamp(scale_low, scale_high).reshape(-1, 1)

    def quantized(scale: torch.Tensor) -> torch.Tensor:
        return (subs * inverse(steps * scale)).round().clamp(low, high)

    def made(scale: torch.Tensor) -> torch.Tensor:
        return steps * scale * quantized(scale)

    (code,) = best_neighbours(subs, weights, [code], [(scale_low, scale_high)], made)
    return d, code.reshape(n, 16).to(torch.int32), quantized(code).reshape(n, BLOCK).to(torch.int32)


def _pack_quarters(q: torch.Tensor) -> torch.Tensor:
    """The reverse of ``_quarters``: int32 (n, 256) of 0 to 3 -> uint8 (n, 64)."""
    return _pack_pairs(q.reshape(-1, 2, 4, 32)).reshape(-1, 64).to(torch.uint8)


def _pack_pairs(q: torch.Tensor) -> torch.Tensor:
    """int32 (..., 4, m) of 0 to 3 -> int32 (..., m): the first of the four in the lowest bits."""
    return (q << 2 * torch.arange(4, device=q.device, dtype=q.dtype)[:, None]).sum(-2, dtype=q.dtype)


def _pack_halves(q: torch.Tensor) -> torch.Tensor:
    """The reverse of ``_halves``: int32 (n, 256) of 0 to 15 -> uint8 (n, 128)."""
    pairs = q.reshape(-1, 4, 2, 32)
    return (pairs[:, :, 0] | pairs[:, :, 1] << 4).reshape(-1, 128).to(torch.uint8)


def _pack_bits(q: torch.Tensor) -> torch.Tensor:
    """int32 (n, 8, m) of 0 and 1 -> uint8 (n, m): the first of the eight in the lowest bit."""
    return (q << torch.arange(8, device=q.device, dtype=q.dtype)[:, None]).sum(1).to(torch.uint8)


def _pack_scales(scale: torch.Tensor, minimum: torch.Tensor) -> torch.Tensor:
    """int32 (n, 8) each of 0 to 63 -> uint8 (n, 12), as ``_scale_and_minimum`` reads them."""
    first = scale[:, :4] | scale[:, 4:] >> 4 << 6
    second = minimum[:, :4] | minimum[:, 4:] >> 4 << 6
    last = scale[:, 4:] & 15 | (minimum[:, 4:] & 15) << 4
    return torch.cat((first, second, last), dim=1).to(torch.uint8)


ROWS = (
    Format("Q2_K", 10, BLOCK, 84, decode_q2_k, encode_q2_k),
    Format("Q3_K", 11, BLOCK, 110, decode_q3_k, encode_q3_k),
    Format("Q4_K", 12, BLOCK, 144, decode_q4_k, encode_q4_k),
    Format("Q5_K", 13, BLOCK, 176, decode_q5_k, encode_q5_k),
    Format("Q6_K", 14, BLOCK, 210, decode_q6_k, encode_q6_k),
)
