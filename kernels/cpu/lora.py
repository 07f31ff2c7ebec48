"""Low-rank additions as calls of the native module."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..lora import LoraPair, LoraTable
from ..specs import Norm
from .recorder import Recorder
from .tensors import contiguous, row_stride


class LoraOperators:
    """See ``kernels.ops.Ops``. All add to their first argument in place."""

    def __init__(self, recorder: Recorder):
        self.recorder = recorder
        self.native, self._handle = recorder.context.native, recorder.context.handle

    def lora_pair(self, a: torch.Tensor, b: torch.Tensor, embedding: bool) -> LoraPair:
        return LoraPair.of(a, b, embedding=embedding, halves=True)  # what adapters cost is mostly reading them

    def lora(
        self,
        ys: Sequence[torch.Tensor],
        x: torch.Tensor,
        tables: Sequence[LoraTable],
        adapter_ids: torch.Tensor,
        max_rank: int,
        norm: Norm | None = None,
    ) -> None:
        at, n = self.recorder.address, x.shape[0]
        inner = self.recorder.empty(n, len(ys), max_rank)
        self.native.lora(
            self._handle,
            self.recorder.program,
            n=n,
            cols=x.shape[1],
            x=at(x),
            x_stride=row_stride(x),
            targets=self._targets(ys, tables),
            adapter_ids=at(adapter_ids),
            inner=at(inner),
            max_rank=max_rank,
            rows_per_input=1,
            rows_per_token=1,
            norm=at(norm.weight) if norm else 0,
            eps=norm.eps if norm else 0.0,
        )

    def lora_experts(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        table: LoraTable,
        adapter_ids: torch.Tensor,
        max_rank: int,
        experts: torch.Tensor,
    ) -> None:
        (n, k), at = experts.shape, self.recorder.address
        inner = self.recorder.empty(n * k, max_rank)
        self.native.lora(
            self._handle,
            self.recorder.program,
            n=n * k,
            cols=x.shape[2],
            x=at(contiguous(x)),
            x_stride=x.shape[2],
            targets=self._targets([y.view(n * k, y.shape[2])], [table]),
            adapter_ids=at(adapter_ids),
            inner=at(inner),
            max_rank=max_rank,
            rows_per_input=k // x.shape[1],
            rows_per_token=k,
            experts=at(contiguous(experts)),
        )

    def lora_embedding(
        self, y: torch.Tensor, ids: torch.Tensor, table: LoraTable, adapter_ids: torch.Tensor, max_rank: int
    ) -> None:
        at, n = self.recorder.address, ids.shape[0]
        inner = self.recorder.empty(n, max_rank)
        self.native.lora(
            self._handle,
            self.recorder.program,
            n=n,
            cols=table.n_in,
            x=0,
            x_stride=0,
            targets=self._targets([y], [table]),
            adapter_ids=at(adapter_ids),
            inner=at(inner),
            max_rank=max_rank,
            rows_per_input=1,
            rows_per_token=1,
            ids=at(ids),
        )

    def _targets(
        self, ys: Sequence[torch.Tensor], tables: Sequence[LoraTable]
    ) -> tuple[tuple[int, int, int, int], ...]:
        at = self.recorder.address
        return tuple((at(table.entries), at(y), y.stride(0), y.shape[1]) for y, table in zip(ys, tables, strict=True))
