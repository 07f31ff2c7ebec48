"""The frame of an encoder (Devlin et al., arXiv:1810.04805): embeddings, their norm, blocks. It has no output head."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..batch import Batch
from ..config import DecoderConfig
from ..kept import Kept
from ..kv_cache import KVCache
from ..weights import Weights
from .decoder import Block, Step
from .norm import LayerNorm


class Encoder:
    """``token_embd``, plus the row for the first segment of ``token_types`` and with ``positions`` those of
    ``position_embd``, through ``token_embd_norm``.

    Positions start at 0, and ``position_embd`` has a row for each of the context.
    """

    causal = False

    def __init__(self, weights: Weights, config: DecoderConfig, blocks: Sequence[Block], *, positions: bool):
        self.ops, self.config, self.blocks = weights.ops, config, tuple(blocks)
        hidden = config.hidden_size
        self.n_vocab = weights.shape("token_embd.weight")[0]
        self.embedding = weights.matrix("token_embd.weight", self.n_vocab, hidden)
        self.positions = weights.matrix("position_embd.weight", config.context_length, hidden) if positions else None
        self.segment: torch.Tensor | None = None
        if "token_types.weight" in weights:  # all tokens are of the first segment, as in llama.cpp
            self.segment = weights.vector("token_types.weight", weights.shape("token_types.weight")[0], hidden)[0]
        self.norm = LayerNorm(weights, "token_embd_norm", hidden, config.norm_eps)

    @property
    def kept(self) -> list[Kept]:
        """What the layers keep of a sequence."""
        return [block.kept for block in self.blocks]

    def hidden(self, batch: Batch, cache: KVCache) -> torch.Tensor:
        """float32 (n_outputs, hidden) of ``batch.output_rows``. ``cache`` is room for this pass, nothing stays."""
        step = Step(batch, cache)
        x = self.ops.embedding(batch.token_ids, self.embedding)
        if self.segment is not None:
            x = self.ops.add(x, self.segment)
        if self.positions is not None:
            x = self.ops.add(x, self.ops.embedding(batch.layout.positions, self.positions))
        x = self.norm(x)
        for block in self.blocks:
            x = block(x, step)
        return self.ops.gather(x, batch.output_rows)
