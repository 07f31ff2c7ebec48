"""The plain formats of GGML: 32 elements share a scale, and in the _1 formats a minimum.

Layouts are GGML's ``block_q4_0`` and so on in ggml-common.h; d and m are float16. Nibble j of the 16 bytes ``qs``
is element j (low half) and j + 16 (high half); bit j of ``qh`` is the fifth bit of element j.

    Q4_0  [d][qs 16]           x = d * (q - 8)        4.5 bits per weight
    Q4_1  [d][m][qs 16]        x = d * q + m          5
    Q5_0  [d][qh 4][qs 16]     x = d * (q - 16)       5.5
    Q5_1  [d][m][qh 4][qs 16]  x = d * q + m          6
    Q8_0  [d][q 32]            x = d * q              8.5
"""

from __future__ import annotations

from ..lazy import torch
from .base import Format
from .fields import bits, half, i8, nibbles, put_half, u32
from .search import affine_scale, block_weights, rounded_half, symmetric_scale

BLOCK = 32


def decode_q4_0(blocks: torch.Tensor) -> torch.Tensor:
    return half(blocks, 0) * (nibbles(blocks, 2, 16) - 8)


def decode_q4_1(blocks: torch.Tensor) -> torch.Tensor:
    return half(blocks, 0) * nibbles(blocks, 4, 16) + half(blocks, 2)


def decode_q5_0(blocks: torch.Tensor) -> torch.Tensor:
    return half(blocks, 0) * ((nibbles(blocks, 6, 16) | _fifth_bits(blocks, 2)) - 16)


def decode_q5_1(blocks: torch.Tensor) -> torch.Tensor:
    return half(blocks, 0) * (nibbles(blocks, 8, 16) | _fifth_bits(blocks, 4)) + half(blocks, 2)


def decode_q8_0(blocks: torch.Tensor) -> torch.Tensor:
    return half(blocks, 0) * i8(blocks, 2, BLOCK)


def encode_q4_0(x: torch.Tensor, importance: torch.Tensor | None) -> torch.Tensor:
    d, inverse = _signed_scale(x, importance, -8)
    q = _levels(x * inverse + 8.5, 15)
    return torch.cat((put_half(d), _pack_nibbles(q)), dim=1)


def encode_q4_1(x: torch.Tensor, importance: torch.Tensor | None) -> torch.Tensor:
    low, d, inverse = _range_scale(x, importance, 15)
    q = _levels((x - low) * inverse + 0.5, 15)
    return torch.cat((put_half(d), put_half(low), _pack_nibbles(q)), dim=1)


def encode_q5_0(x: torch.Tensor, importance: torch.Tensor | None) -> torch.Tensor:
    d, inverse = _signed_scale(x, importance, -16)
    q = _levels(x * inverse + 16.5, 31)
    return torch.cat((put_half(d), _pack_fifth_bits(q), _pack_nibbles(q)), dim=1)


def encode_q5_1(x: torch.Tensor, importance: torch.Tensor | None) -> torch.Tensor:
    low, d, inverse = _range_scale(x, importance, 31)
    q = _levels((x - low) * inverse + 0.5, 31)
    return torch.cat((put_half(d), put_half(low), _pack_fifth_bits(q), _pack_nibbles(q)), dim=1)


def encode_q8_0(x: torch.Tensor, importance: torch.Tensor | None) -> torch.Tensor:
    """An importance changes nothing here: there are levels enough."""
    d = x.abs().amax(dim=1, keepdim=True) / 127
    scaled = x * _inverse(d)
    whole = torch.trunc(scaled)
    # Halves go away from zero, as C's roundf does it; adding 0.5 would also lift the number just below a half.
    q = whole + torch.where((scaled - whole).abs() >= 0.5, scaled.sign(), torch.zeros_like(scaled))
    return torch.cat((put_half(d), q.to(torch.int8).view(torch.uint8)), dim=1)


def _fifth_bits(blocks: torch.Tensor, at: int) -> torch.Tensor:
    return (bits(u32(blocks, at, 1), list(range(BLOCK)), 1).squeeze(1) << 4).to(torch.int32)


def _pack_fifth_bits(q: torch.Tensor) -> torch.Tensor:
    weights = 1 << torch.arange(8, device=q.device, dtype=torch.int32)
    return ((q >> 4).reshape(-1, 4, 8) * weights).sum(dim=2).to(torch.uint8)


def _pack_nibbles(q: torch.Tensor) -> torch.Tensor:
    low, high = (q & 15).chunk(2, dim=1)
    return (low | high << 4).to(torch.uint8)


def _levels(scaled: torch.Tensor, highest: int) -> torch.Tensor:
    return scaled.to(torch.int32).clamp(0, highest)


def _signed_scale(x: torch.Tensor, importance: torch.Tensor | None, lowest: int) -> tuple[torch.Tensor, torch.Tensor]:
    """d and its inverse. Without an importance the element of largest magnitude, the first of them, becomes the level
    ``lowest``."""
    if importance is not None:
        d = symmetric_scale(x, block_weights(x, importance, group=BLOCK), lowest, -lowest - 1)
        return _stored(d)
    largest = x.gather(1, x.abs().argmax(dim=1, keepdim=True))
    d = largest / lowest
    return d, _inverse(d)


def _range_scale(
    x: torch.Tensor, importance: torch.Tensor | None, steps: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The lowest level, d and its inverse. Without an importance, levels go from the smallest element in ``steps``
    equal steps to the largest."""
    if importance is not None:
        d, low = affine_scale(x, importance, steps, span=(-2.0, 0.05, 61), floor_at_zero=False)
        return rounded_half(low), *_stored(d)
    low = x.amin(dim=1, keepdim=True)
    d = (x.amax(dim=1, keepdim=True) - low) / steps
    return low, d, _inverse(d)


def _inverse(d: torch.Tensor) -> torch.Tensor:
    return torch.where(d == 0, torch.zeros_like(d), 1.0 / d)


def _stored(d: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """d as it is stored, and its inverse: what was searched for is rounded before codes are made."""
    d = rounded_half(d)
    return d, _inverse(d)


ROWS = (
    Format("Q4_0", 2, BLOCK, 18, decode_q4_0, encode_q4_0),
    Format("Q4_1", 3, BLOCK, 20, decode_q4_1, encode_q4_1),
    Format("Q5_0", 6, BLOCK, 22, decode_q5_0, encode_q5_0),
    Format("Q5_1", 7, BLOCK, 24, decode_q5_1, encode_q5_1),
    Format("Q8_0", 8, BLOCK, 34, decode_q8_0, encode_q8_0, weighs=False),
)
