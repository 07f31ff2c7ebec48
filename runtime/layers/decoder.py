"""The frame of a decoder: embedding, blocks, last norm, output head. Architectures differ in their blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from gristmill.kernels.specs import Rotation

from ..batch import Batch
from ..config import DecoderConfig
from ..kv_cache import KVCache
from ..weights import Weights
from .linear import Linear
from .norm import RmsNorm

if TYPE_CHECKING:
    from .rope import Rope

Block = Callable[[torch.Tensor, "Step"], torch.Tensor]


class Step:
    """What the blocks of one forward pass share: the tokens' layout, the cache, rotations by rope."""

    def __init__(self, batch: Batch, cache: KVCache):
        self.layout = batch.layout
        self.cache = cache
        self._rotations: dict[int, Rotation] = {}

    def rotation(self, rope: Rope) -> Rotation:
        """Computed by the first layer that asks."""
        if id(rope) not in self._rotations:
            self._rotations[id(rope)] = rope.rotation(self.layout.positions)
        return self._rotations[id(rope)]


class Decoder:
    """A whole model. ``embedding_scale`` multiplies the embeddings, ``final_softcap`` (0: none) bends the logits.

    Where it is not ``causal``, tokens see those after them, and it makes embeddings only. The output head is
    ``output.weight``, or the embedding itself where the file has none.
    """

    def __init__(
        self,
        weights: Weights,
        config: DecoderConfig,
        blocks: Sequence[Block],
        *,
        embedding_scale: float = 1.0,
        final_softcap: float = 0.0,
        causal: bool = True,
    ):
        self.causal = causal
        self.ops, self.config, self.blocks = weights.ops, config, tuple(blocks)
        self.embedding_scale, self.final_softcap = embedding_scale, final_softcap
        self.n_vocab = weights.shape("token_embd.weight")[0]
        self.embedding = weights.matrix("token_embd.weight", self.n_vocab, config.hidden_size)
        self.norm = RmsNorm(weights, "output_norm", config.hidden_size, config.norm_eps)
        head = "output" if "output.weight" in weights else "token_embd"
        self.output = Linear(weights, head, self.n_vocab, config.hidden_size)

    def forward(self, batch: Batch, cache: KVCache) -> torch.Tensor:
        """Logits float32 (n_outputs, n_vocab) of ``batch.output_rows``; keys and values go to ``cache``."""
        logits = self.output(self._last_block(batch, cache), self.norm.norm)
        return self.ops.softcap(logits, self.final_softcap) if self.final_softcap else logits

    def hidden(self, batch: Batch, cache: KVCache) -> torch.Tensor:
        """What the output head would read: float32 (n_outputs, hidden) of ``batch.output_rows``."""
        return self.norm(self._last_block(batch, cache))

    def _last_block(self, batch: Batch, cache: KVCache) -> torch.Tensor:
        """(n_outputs, hidden), not normalised."""
        step = Step(batch, cache)
        x = self.ops.embedding(batch.token_ids, self.embedding)
        if self.embedding_scale != 1.0:
            x = self.ops.scale(x, self.embedding_scale)
        for block in self.blocks:
            x = block(x, step)
        return self.ops.gather(x, batch.output_rows)
