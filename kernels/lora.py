"""What adapters add to one weight, in the form that operators read: y = W x + B A x (Hu et al., arXiv:2106.09685).

A ``LoraTable`` has a place for each adapter id. The rows of a step say by id whose matrices they take, so a recorded
step serves any adapters: only the ids, and what the places hold, change. Knows no files and no models.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["MAX_ADAPTERS", "LoraPair", "LoraTable", "padded_rank"]

MAX_ADAPTERS = 128  # ids of one model
_RANK_TILE, _IN_TILE, _OUT_TILE = 4, 16, 32  # what the native kernels read at once (native/args.h, LowRank)


def padded_rank(rank: int) -> int:
    """The ranks that are computed: those added are zero."""
    return -(-rank // _RANK_TILE) * _RANK_TILE


@dataclass(frozen=True)
class LoraPair:
    """``a`` float32 (rank, in) and ``b`` (out, rank), or stacks of them, one for each expert: views of what is stored.

    ``stored``: A (..., padded rank, padded in) and B transposed (..., padded rank, padded out), contiguous. Of an
    embedding, A is (n_vocab, padded rank): a row for each token.
    """

    a: torch.Tensor
    b: torch.Tensor
    stored: tuple[torch.Tensor, torch.Tensor]

    @classmethod
    def of(cls, a: torch.Tensor, b: torch.Tensor, *, embedding: bool = False) -> LoraPair:
        """``a`` is (..., rank, in), of an embedding (n_vocab, rank)."""
        rank = padded_rank(b.shape[-1])
        in_shape = (a.shape[0], rank) if embedding else (*a.shape[:-2], rank, _padded(a.shape[-1], _IN_TILE))
        store_a = a.new_zeros(in_shape, dtype=torch.float32)
        store_b = b.new_zeros((*b.shape[:-2], rank, _padded(b.shape[-2], _OUT_TILE)), dtype=torch.float32)
        view_a = store_a[..., : a.shape[-2], : a.shape[-1]]
        view_b = store_b[..., : b.shape[-1], : b.shape[-2]].transpose(-1, -2)
        view_a.copy_(a)
        view_b.copy_(b)
        return cls(view_a, view_b, (store_a, store_b))

    @property
    def rank(self) -> int:
        return self.b.shape[-1]

    @property
    def n_bytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in self.stored)


class LoraTable:
    """The pairs of all adapters for one weight with ``n_in`` inputs (an embedding: tokens), by adapter id.

    ``entries`` int64 (MAX_ADAPTERS, 3) on the host: addresses of A and B, and the padded rank; 0 where an adapter adds
    nothing. It never moves.
    """

    def __init__(self, n_in: int) -> None:
        self.n_in = n_in
        self.entries = torch.zeros(MAX_ADAPTERS, 3, dtype=torch.int64)
        self.pairs: dict[int, LoraPair] = {}

    def put(self, adapter_id: int, pair: LoraPair) -> None:
        """The id must be one that no running step uses."""
        self.pairs[adapter_id] = pair
        a, b = pair.stored
        self.entries[adapter_id] = torch.tensor([a.data_ptr(), b.data_ptr(), padded_rank(pair.rank)])

    def drop(self, adapter_id: int) -> None:
        self.entries[adapter_id] = 0
        self.pairs.pop(adapter_id, None)


def _padded(n: int, to: int) -> int:
    return -(-n // to) * to
