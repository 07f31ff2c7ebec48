"""Packs a step's tokens into tensors and runs the model on them.

Steps in which every sequence advances by one token are captured once per number of sequences and replayed: their
inputs lie in fixed tensors that are refilled.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gristmill.kernels.dispatch import Graph
from gristmill.kernels.layout import TokenLayout

from .batch import Batch
from .kv_cache import KVCache
from .layers import Decoder


@dataclass(frozen=True)
class Span:
    """``tokens`` of one sequence to compute, the first at position ``start``; ``pages`` hold the whole sequence."""

    tokens: list[int]
    start: int
    pages: list[int]
    all_logits: bool = False


class Forward:
    """A model with its cache. One at a time: the fixed tensors are shared by all calls."""

    def __init__(self, model: Decoder, cache: KVCache, n_ctx: int):
        self.model, self.cache = model, cache
        self.max_pages = -(-n_ctx // cache.page_size)
        self._captured: dict[int, tuple[Batch, Graph]] = {}

    def __call__(self, spans: list[Span]) -> torch.Tensor:
        """Logits float32 (n_outputs, n_vocab): of each span's last token, or of all where ``all_logits``."""
        with torch.inference_mode():
            batch = pack(spans, self.cache.page_size, self.max_pages, self.model.ops.device)
            if any(len(span.tokens) != 1 for span in spans):
                return self.model.forward(batch, self.cache)
            return self._replay(batch, len(spans))

    def _replay(self, batch: Batch, n: int) -> torch.Tensor:
        if n not in self._captured:
            graph = self.model.ops.capture(lambda: self.model.forward(batch, self.cache))
            self._captured[n] = (batch, graph)
        fixed, graph = self._captured[n]
        if fixed is not batch:
            _refill(fixed, batch)
        logits: torch.Tensor = graph.replay()
        return logits


def pack(spans: list[Span], page_size: int, max_pages: int, device: torch.device) -> Batch:
    """The flat tensors of a step; see ``Batch`` and ``TokenLayout``."""
    ids: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    starts, lengths = [0], []
    outputs: list[int] = []
    table = torch.zeros(len(spans), max_pages, dtype=torch.int32)
    for i, span in enumerate(spans):
        at = range(span.start, span.start + len(span.tokens))
        ids += span.tokens
        positions += at
        slots += [span.pages[p // page_size] * page_size + p % page_size for p in at]
        outputs += range(starts[-1], len(ids)) if span.all_logits else [len(ids) - 1]
        starts.append(len(ids))
        lengths.append(at.stop)
        table[i, : len(span.pages)] = torch.tensor(span.pages, dtype=torch.int32)
    layout = TokenLayout(
        positions=torch.tensor(positions, device=device),
        slots=torch.tensor(slots, device=device),
        seq_starts=torch.tensor(starts, dtype=torch.int32, device=device),
        page_table=table.to(device),
        context_lens=torch.tensor(lengths, dtype=torch.int32, device=device),
        page_size=page_size,
    )
    return Batch(torch.tensor(ids, device=device), torch.tensor(outputs, device=device), layout)


def _refill(fixed: Batch, batch: Batch) -> None:
    fixed.token_ids.copy_(batch.token_ids)
    fixed.layout.positions.copy_(batch.layout.positions)
    fixed.layout.slots.copy_(batch.layout.slots)
    fixed.layout.page_table.copy_(batch.layout.page_table)
    fixed.layout.context_lens.copy_(batch.layout.context_lens)
