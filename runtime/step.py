"""Packs a step's tokens into tensors and runs the model on them.

Steps in which every sequence advances by one token, and those of one sequence with a draft, are captured once per shape
and replayed: their inputs lie in fixed tensors that are refilled.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gristmill.kernels.dispatch import Graph
from gristmill.kernels.layout import TokenLayout

from .batch import Batch
from .kv_cache import KVCache
from .layers import Decoder
from .lora import AdapterRows, Adapters
from .states import NONE
from .vision.rows import Features, picture_rows

MAX_CAPTURED = 17  # tokens of a sequence with its draft
NO_ADAPTER = -1


@dataclass(frozen=True)
class Span:
    """``tokens`` of one sequence to compute, the first at position ``start``; ``pages`` hold the whole sequence.

    ``adapter_id`` below 0: it has no adapter. ``state_read`` and ``state_write``: rows of the states that it goes on
    from (below 0: it begins) and leaves its own in, see ``TokenLayout``. ``features``: the rows that tokens below 0
    stand for, see ``vision.places``.
    """

    tokens: list[int]
    start: int
    pages: list[int]
    all_logits: bool = False
    adapter_id: int = NO_ADAPTER
    state_read: int = NONE
    state_write: int = 0
    features: Features | None = None

    @property
    def has_pictures(self) -> bool:
        """Whether one of the tokens is a picture's."""
        return self.features is not None and any(token < 0 for token in self.tokens)


class Forward:
    """A model with its cache. One at a time: the fixed tensors are shared by all calls.

    ``adapters`` are the model's, None where it takes none; those of the spans must be loaded. Steps in which no
    sequence has one are captured apart: they do nothing for adapters. In the others only the rows' ids change.
    """

    def __init__(self, model: Decoder, cache: KVCache, n_ctx: int, adapters: Adapters | None = None):
        self.model, self.cache = model, cache
        self.adapters = adapters or Adapters(model.ops, model.config.architecture)
        self.max_pages = -(-n_ctx // cache.page_size)
        self._captured: dict[tuple[int, int, int], tuple[DecodeInputs, Graph]] = {}

    def __call__(self, spans: list[Span]) -> torch.Tensor:
        """Logits float32 (n_outputs, n_vocab): of each span's last token, or of all where ``all_logits``.

        They may lie in a fixed tensor, which the next call overwrites.
        """
        with torch.inference_mode():
            one_each = all(len(span.tokens) == 1 for span in spans) or (len(spans) == 1 and _is_drafted(spans[0]))
            if one_each and not any(span.has_pictures for span in spans):
                return self._replay(spans)
            return self._forward(pack(spans, self.cache.page_size, self.max_pages, self.model.ops.device))

    def _forward(self, batch: Batch) -> torch.Tensor:
        if batch.adapters is None:
            return self.model.forward(batch, self.cache)
        with self.adapters.step(batch.adapters):
            return self.model.forward(batch, self.cache)

    def _replay(self, spans: list[Span]) -> torch.Tensor:
        shape = len(spans), len(spans[0].tokens), self._version(spans)
        if shape not in self._captured:
            inputs = DecodeInputs(pack(spans, self.cache.page_size, self.max_pages, self.model.ops.device))
            graph = self.model.ops.capture(lambda: self._forward(inputs.batch))
            self._captured[shape] = (inputs, graph)
        inputs, graph = self._captured[shape]
        inputs.fill(spans)
        logits: torch.Tensor = graph.replay()
        return logits

    def _version(self, spans: list[Span]) -> int:
        """Of the adapters, 0 for a step without. What was captured for an earlier one is dropped."""
        if not _has_adapters(spans):
            return 0
        version = self.adapters.version
        for shape in [shape for shape in self._captured if 0 < shape[2] < version]:
            del self._captured[shape]
        return version


def _has_adapters(spans: list[Span]) -> bool:
    return any(span.adapter_id >= 0 for span in spans)


def _is_drafted(span: Span) -> bool:
    return span.all_logits and len(span.tokens) <= MAX_CAPTURED


class DecodeInputs:
    """The fixed tensors of a captured step, and refilling them: so many tokens of each sequence as there were."""

    def __init__(self, batch: Batch):
        self.batch = batch
        layout = batch.layout
        # Filled on the host: there, through numpy, an assignment costs a tenth of what it does through torch.
        tokens = (batch.token_ids, layout.positions, layout.slots)
        sequences = (layout.context_lens, layout.page_table, layout.state_reads, layout.state_writes)
        self._fixed = (*tokens, *sequences)
        host = self._host = [t.cpu() for t in self._fixed]
        self._ids, self._positions, self._slots = (t.numpy() for t in host[:3])
        self._lengths, self._table, self._reads, self._writes = (t.numpy() for t in host[3:])
        self._adapter_ids = batch.adapters.tokens if batch.adapters else None
        # Whose pages the table holds, and how many.
        self._rows: list[tuple[list[int], int]] = [([], 0)] * len(self._lengths)
        self._per_span = len(self._ids) // len(self._lengths)

    def fill(self, spans: list[Span]) -> None:
        page_size = self.batch.layout.page_size
        row = 0
        for i, span in enumerate(spans):
            pages = span.pages
            for at, token in enumerate(span.tokens, span.start):
                self._ids[row] = token
                self._positions[row] = at
                self._slots[row] = pages[at // page_size] * page_size + at % page_size
                row += 1
            self._lengths[i] = span.start + self._per_span
            self._reads[i], self._writes[i] = span.state_read, span.state_write
            known, n_known = self._rows[i]
            if known is not pages or n_known != len(pages):  # a sequence's pages stay, more may come
                self._rows[i] = (pages, len(pages))
                self._table[i, : len(pages)] = pages
        if self._adapter_ids is not None:
            self._adapter_ids.copy_(_adapter_ids(spans))
        self._upload()

    def _upload(self) -> None:
        for target, source in zip(self._fixed, self._host, strict=True):
            if target is not source:  # on the CPU they are one and the same
                target.copy_(source)


def _adapter_ids(spans: list[Span]) -> torch.Tensor:
    """int32 (n_tokens,)"""
    return torch.tensor([span.adapter_id for span in spans for _ in span.tokens], dtype=torch.int32)


def _adapter_rows(spans: list[Span], outputs: list[int], device: torch.device) -> AdapterRows | None:
    if not _has_adapters(spans):
        return None
    tokens = _adapter_ids(spans).to(device)
    # Where all tokens are outputs, as in every captured step, there is one tensor to fill.
    return AdapterRows(tokens, tokens if len(outputs) == len(tokens) else tokens[outputs])


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
        ids += span.tokens if span.features is None else [max(token, 0) for token in span.tokens]
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
        state_reads=torch.tensor([span.state_read for span in spans], dtype=torch.int32, device=device),
        state_writes=torch.tensor([span.state_write for span in spans], dtype=torch.int32, device=device),
        page_size=page_size,
    )
    adapters = _adapter_rows(spans, outputs, device)
    pictures = picture_rows([span.tokens for span in spans], [span.features for span in spans], layout)
    return Batch(torch.tensor(ids, device=device), torch.tensor(outputs, device=device), layout, adapters, pictures)
