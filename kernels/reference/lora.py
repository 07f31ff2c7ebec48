"""Low-rank additions, one adapter after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.nn import functional

from ..lora import LoraPair, LoraTable
from ..specs import Norm
from .linear import rows_times
from .pointwise import rms_norm

_LEAST_RANK = 16


def lora_pair(a: torch.Tensor, b: torch.Tensor, embedding: bool) -> LoraPair:
    return LoraPair.of(a, b, embedding=embedding)


def lora(
    ys: Sequence[torch.Tensor],
    x: torch.Tensor,
    tables: Sequence[LoraTable],
    adapter_ids: torch.Tensor,
    max_rank: int,
    norm: Norm | None = None,
) -> None:
    x = x if norm is None else rms_norm(x, norm)
    for y, table in zip(ys, tables, strict=True):
        for rows, pair in _by_adapter(table, adapter_ids):
            y[rows] += rows_times(_inner(x[rows], pair.a), pair.b)


def lora_experts(
    y: torch.Tensor,
    x: torch.Tensor,
    table: LoraTable,
    adapter_ids: torch.Tensor,
    max_rank: int,
    experts: torch.Tensor,
) -> None:
    n, k = experts.shape
    x = x.expand(n, k, x.shape[-1]).reshape(n * k, x.shape[-1])
    flat = y.view(n * k, y.shape[-1])
    chosen = experts.reshape(-1)
    for rows, pair in _by_adapter(table, adapter_ids.repeat_interleave(k)):
        for expert in torch.unique(chosen[rows]).tolist():
            own = rows[chosen[rows] == expert]
            flat[own] += rows_times(_inner(x[own], pair.a[expert]), pair.b[expert])


def lora_embedding(
    y: torch.Tensor, ids: torch.Tensor, table: LoraTable, adapter_ids: torch.Tensor, max_rank: int
) -> None:
    for rows, pair in _by_adapter(table, adapter_ids):
        y[rows] += rows_times(pair.a[ids[rows]], pair.b)


def _inner(x: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    """x (n, in) times a (rank, in) transposed. With few ranks, the order of sums would depend on the number of rows."""
    rank = a.shape[0]
    return rows_times(x, functional.pad(a, (0, 0, 0, max(0, _LEAST_RANK - rank))))[:, :rank]


def _by_adapter(table: LoraTable, adapter_ids: torch.Tensor) -> Iterator[tuple[torch.Tensor, LoraPair]]:
    """The rows of each adapter that adds to this weight."""
    for adapter_id in torch.unique(adapter_ids).tolist():
        pair = table.pairs.get(adapter_id)
        if pair is not None:
            yield (adapter_ids == adapter_id).nonzero().squeeze(1), pair
