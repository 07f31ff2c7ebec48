"""What adapters add to one weight, in the form that operators read: y = W x + B A x (Hu et al., arXiv:2106.09685).

A ``LoraTable`` has a place for each adapter id. The rows of a step say by id whose matrices they take, so a recorded
step serves any adapters: only the ids, and what the places hold, change. Knows no files and no models.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

__all__ = ["MAX_ADAPTERS", "LoraPair", "LoraTable", "padded_rank"]

MAX_ADAPTERS = 128  # ids of one model
_RANK_TILE, _IN_TILE, _OUT_TILE = 4, 16, 32  # what the native kernels read at once (native/args.h, LowRank)


def padded_rank(rank: int) -> int:
    """The ranks that are computed: those added are zero."""
    return -(-rank // _RANK_TILE) * _RANK_TILE


@dataclass(frozen=True)
class LoraPair:
    """A (rank, in) and B (out, rank), or stacks of them, one for each expert, as the kernels read them.

    ``stored_a`` (..., padded rank / 4, padded in / 16, 4, 16), of an embedding (n_vocab, padded rank). ``stored_b`` is
    B transposed, in panels of 32 outputs (..., panels, padded rank, 32). Both are float32 or float16, and contiguous:
    one row's products read them from beginning to end.
    """

    rank: int
    n_in: int
    n_out: int
    embedding: bool
    stored_a: torch.Tensor
    stored_b: torch.Tensor

    @classmethod
    def of(cls, a: torch.Tensor, b: torch.Tensor, *, embedding: bool = False, halves: bool = False) -> LoraPair:
        """``a`` is (..., rank, in), of an embedding (n_vocab, rank); ``b`` (..., out, rank).

        With ``halves`` they are kept in float16, unless they have numbers that it is too narrow for.
        """
        *stack, n_out, rank = b.shape
        n_in, more = a.shape[0] if embedding else a.shape[-1], padded_rank(rank) - rank
        wide_a = functional.pad(a, (0, more) if embedding else (0, -n_in % _IN_TILE, 0, more))
        wide_b = functional.pad(b, (0, more, 0, -n_out % _OUT_TILE))
        panels = wide_b.reshape(*stack, -1, _OUT_TILE, rank + more).transpose(-1, -2)
        dtype = torch.float16 if halves and _fits_halves(a) and _fits_halves(b) else torch.float32
        tiles = wide_a if embedding else _tiled(wide_a)
        kept = (tensor.to(dtype).contiguous() for tensor in (tiles, panels))
        return cls(rank, n_in, n_out, embedding, *kept)

    @property
    def a(self) -> torch.Tensor:
        """float32, in the shape it was given."""
        if self.embedding:
            return self.stored_a[:, : self.rank].float()
        rows = self.stored_a.transpose(-3, -2).flatten(-2, -1).flatten(-3, -2)
        return rows[..., : self.rank, : self.n_in].float()

    @property
    def b(self) -> torch.Tensor:
        """float32 (..., out, rank)"""
        rows = self.stored_b.transpose(-1, -2).flatten(-3, -2)
        return rows[..., : self.n_out, : self.rank].float()

    @property
    def entry(self) -> tuple[int, int, int, int]:
        """As ``LowRank`` in native/args.h."""
        a, b = self.stored_a, self.stored_b
        return a.data_ptr(), b.data_ptr(), padded_rank(self.rank), a.dtype == torch.float16

    @property
    def n_bytes(self) -> int:
        return self.stored_a.nbytes + self.stored_b.nbytes


class LoraTable:
    """The pairs of all adapters for one weight with ``n_in`` inputs (an embedding: tokens), by adapter id.

    ``entries`` int64 (MAX_ADAPTERS, 4) on the host: see ``LoraPair.entry``; 0 where an adapter adds nothing. It never
    moves.
    """

    def __init__(self, n_in: int) -> None:
        self.n_in = n_in
        self.entries = torch.zeros(MAX_ADAPTERS, 4, dtype=torch.int64)
        self.pairs: dict[int, LoraPair] = {}

    def put(self, adapter_id: int, pair: LoraPair) -> None:
        """The id must be one that no running step uses."""
        self.pairs[adapter_id] = pair
        self.entries[adapter_id] = torch.tensor(pair.entry)

    def drop(self, adapter_id: int) -> None:
        self.entries[adapter_id] = 0
        self.pairs.pop(adapter_id, None)


def _tiled(a: torch.Tensor) -> torch.Tensor:
    """(..., rank, in), whole tiles -> (..., rank / 4, in / 16, 4, 16)"""
    *stack, rank, n_in = a.shape
    return a.reshape(*stack, rank // _RANK_TILE, _RANK_TILE, n_in // _IN_TILE, _IN_TILE).transpose(-3, -2)


def _fits_halves(x: torch.Tensor) -> bool:
    """Whether float16 rounds it no worse than it rounds numbers of a usual size: 11 bits of the mantissa."""
    error = torch.linalg.vector_norm(x - x.to(torch.float16).float())
    return bool(error <= torch.linalg.vector_norm(x) * 2.0**-11)  # not so where one becomes infinite
