"""Texts as vectors: batches of whole texts through the model, and pooling.

A text's vector does not depend on what else is embedded with it, bit for bit: the operators compute each row by
itself, a text that fits into a pass is never cut, and one that does not goes alone, in pieces of one size.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

import torch

from .batch import Batch
from .errors import InvalidRequest
from .kv_cache import PAGE_SIZE, KVCache
from .layers import Decoder, Encoder, Pooling, PoolingType
from .piecewise import to_end
from .states import NONE
from .step import Span, pack

_KV_TYPE = "f32"  # room for one batch only, so exactness costs little
_LEAST_NORM = 1e-12
NOT_FINITE = "embedding contains NaN or Inf values"


class Embedder:
    """``token_budget``: tokens of one pass through the model. An encoder's texts go whole, even longer ones."""

    def __init__(self, network: Decoder | Encoder, pooling: Pooling, *, token_budget: int = 512):
        self.network, self.pooling, self.token_budget = network, pooling, max(PAGE_SIZE, token_budget)

    @property
    def dim(self) -> int:
        """Numbers of a vector."""
        return self.pooling.dim

    def __call__(self, texts: Sequence[list[int]], *, normalize: bool = True) -> torch.Tensor:
        """Vectors float32 (n, dim) of token ids, which are not empty, below ``n_vocab`` and fit into the context.

        ``normalize``: of length 1; scores stay as they are. Raises InvalidRequest where a number is not finite.
        """
        out = torch.empty(len(texts), self.dim)
        for rows in self.batches([len(ids) for ids in texts]):
            out[rows] = to_end(self.embed([texts[row] for row in rows], normalize=normalize)).cpu()
        if not out.isfinite().all():
            raise InvalidRequest(NOT_FINITE)
        return out

    def batches(self, lengths: Sequence[int]) -> list[list[int]]:
        """Which of texts of these lengths go through the model together, in their order."""
        batches: list[list[int]] = []
        left = 0
        for row, length in enumerate(lengths):
            if not batches or _room(length) > left:
                batches.append([])
                left = max(self.token_budget, _room(length))
            batches[-1].append(row)
            left -= _room(length)
        return batches

    def embed(self, texts: Sequence[list[int]], *, normalize: bool) -> Generator[None, None, torch.Tensor]:
        """One batch: yields after each pass but the last, returns (n, dim). Numbers may not be finite."""
        pooled = torch.zeros(len(texts), self.network.config.hidden_size, dtype=torch.float64)
        passes = self._passes(texts)
        cache = self._room_for(texts, n_passes=len(passes))
        for i, spans in enumerate(passes):
            self._pool(spans, cache, pooled)
            if i + 1 < len(passes):
                yield
        if self.pooling.kind is PoolingType.MEAN:
            pooled /= torch.tensor([len(ids) for ids in texts], dtype=torch.float64)[:, None]
        with torch.inference_mode():
            vectors = self.pooling.head(pooled.float().to(self.network.ops.device))
        return normalized(vectors) if normalize and not self.pooling.is_score else vectors

    def _passes(self, texts: Sequence[list[int]]) -> list[list[Span]]:
        """One pass with all texts; several with pieces of a single long one, where earlier tokens do not need later."""
        spans, n_pages = [], 0
        for i, ids in enumerate(texts):
            pages = list(range(n_pages, n_pages + _room(len(ids)) // PAGE_SIZE))
            n_pages += len(pages)
            spans.append(Span(ids, 0, pages, all_logits=self.pooling.kind is PoolingType.MEAN, state_write=i))
        size, (first, *others) = self.token_budget, spans
        if others or not self.network.causal or len(first.tokens) <= size:
            return [spans]
        pieces = range(0, len(first.tokens), size)
        return [
            [replace(first, tokens=first.tokens[at : at + size], start=at, state_read=0 if at else NONE)]
            for at in pieces
        ]

    def _room_for(self, texts: Sequence[list[int]], *, n_passes: int) -> KVCache:
        """Keys and values of a batch. In a single pass, all layers use the same room one after another."""
        layers, device = self.network.kept, self.network.ops.device
        n_pages = sum(_room(len(ids)) for ids in texts) // PAGE_SIZE
        if n_passes > 1 or len(set(layers)) > 1:
            return KVCache.allocate(layers, n_pages, _KV_TYPE, device, n_states=len(texts))
        one, n = KVCache.allocate(layers[:1], n_pages, _KV_TYPE, device, n_states=len(texts)), len(layers)
        return replace(one, keys=one.keys * n, values=one.values * n, states=one.states * n)

    def _pool(self, spans: list[Span], cache: KVCache, pooled: torch.Tensor) -> None:
        """Run one pass and add its share to ``pooled`` (n_texts, hidden)."""
        with torch.inference_mode():
            batch = pack(spans, PAGE_SIZE, max(len(span.pages) for span in spans), self.network.ops.device)
            hidden = self.network.hidden(self._with_outputs(batch), cache).cpu()
        row = 0
        for i, span in enumerate(spans):
            n_rows = len(span.tokens) if span.all_logits else 1
            states = hidden[row : row + n_rows].double().sum(0)
            row += n_rows
            if self.pooling.kind is PoolingType.MEAN:
                pooled[i] += states
            elif self.pooling.reads_last or span.start == 0:
                pooled[i] = states

    def _with_outputs(self, batch: Batch) -> Batch:
        """``batch`` with its first tokens' states as output, where these count."""
        if self.pooling.kind is PoolingType.MEAN or self.pooling.reads_last:
            return batch
        return replace(batch, output_rows=batch.layout.seq_starts[:-1].to(torch.int64))


def _room(n_tokens: int) -> int:
    """Tokens, in whole pages."""
    return -(-n_tokens // PAGE_SIZE) * PAGE_SIZE


def normalized(vectors: torch.Tensor) -> torch.Tensor:
    """(n, dim) of length 1. Each by itself, for a sum's order may depend on the number of rows."""
    lengths = [float(v.double().square().sum().sqrt().clamp(min=_LEAST_NORM)) for v in vectors]
    return vectors / torch.tensor(lengths, device=vectors.device)[:, None]
