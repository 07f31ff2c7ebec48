"""Reading the fields of blocks. ``blocks`` is uint8 (n_blocks, block_bytes) in all of these."""

from __future__ import annotations

from ..lazy import torch


def half(blocks: torch.Tensor, at: int) -> torch.Tensor:
    """The float16 at byte ``at`` as float32 (n_blocks, 1)."""
    return blocks[:, at : at + 2].contiguous().view(torch.float16).to(torch.float32)


def put_half(values: torch.Tensor) -> torch.Tensor:
    """float32 (n_blocks, 1) as float16 bytes (n_blocks, 2)."""
    return values.to(torch.float16).contiguous().view(torch.uint8)


def put_words(values: torch.Tensor, n_bytes: int) -> torch.Tensor:
    """Whole numbers (n_blocks, n) as little-endian words (n_blocks, n * n_bytes)."""
    shifts = 8 * torch.arange(n_bytes, device=values.device, dtype=values.dtype)
    return (values[..., None] >> shifts & 255).flatten(1).to(torch.uint8)


def u8(blocks: torch.Tensor, at: int, n: int) -> torch.Tensor:
    """``n`` bytes from ``at`` as int32 (n_blocks, n)."""
    return blocks[:, at : at + n].to(torch.int32)


def i8(blocks: torch.Tensor, at: int, n: int) -> torch.Tensor:
    """``n`` signed bytes from ``at`` as int32 (n_blocks, n)."""
    return blocks[:, at : at + n].contiguous().view(torch.int8).to(torch.int32)


def u16(blocks: torch.Tensor, at: int, n: int) -> torch.Tensor:
    """``n`` little-endian 16-bit words from byte ``at`` as int32 (n_blocks, n)."""
    pairs = u8(blocks, at, 2 * n).reshape(-1, n, 2)
    return pairs[..., 0] | pairs[..., 1] << 8


def u32(blocks: torch.Tensor, at: int, n: int) -> torch.Tensor:
    """``n`` little-endian 32-bit words from byte ``at`` as int64 (n_blocks, n)."""
    words = u16(blocks, at, 2 * n).to(torch.int64).reshape(-1, n, 2)
    return words[..., 0] | words[..., 1] << 16


def bits(words: torch.Tensor, shifts: list[int], mask: int) -> torch.Tensor:
    """``words >> shift & mask`` for each shift, on a new last dimension."""
    by = torch.tensor(shifts, dtype=words.dtype, device=words.device)
    return words[..., None] >> by & mask


def nibbles(blocks: torch.Tensor, at: int, n: int) -> torch.Tensor:
    """Bytes from ``at`` as (n_blocks, 2 * n): all low halves, then all high halves."""
    q = u8(blocks, at, n)
    return torch.cat((q & 15, q >> 4), dim=1)


def signs(mask: torch.Tensor) -> torch.Tensor:
    """Bits of 8-bit masks (..., n) as float32 (..., n, 8): 1 for a clear bit, -1 for a set one."""
    return 1.0 - 2.0 * bits(mask, list(range(8)), 1).to(torch.float32)
