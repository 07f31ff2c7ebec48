"""The frame of a decoder: embedding, blocks, last norm, output head. Architectures differ in their blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch

from gristmill.kernels.specs import Rotation

from ..batch import Batch
from ..config import DecoderConfig
from ..kept import Kept
from ..kv_cache import KVCache
from ..weights import Weights
from .linear import Linear
from .norm import stream_norm

if TYPE_CHECKING:
    from .rope import Rope


class Block(Protocol):
    """One of a model's layers: (n, hidden) -> (n, hidden). ``kept``: what it keeps of a sequence between steps."""

    @property
    def kept(self) -> Kept: ...

    def __call__(self, x: torch.Tensor, step: Step) -> torch.Tensor: ...


class Step:
    """What the blocks of one forward pass share: the tokens' layout, the cache, rotations by rope, pictures."""

    def __init__(self, batch: Batch, cache: KVCache):
        self.layout, self.pictures = batch.layout, batch.pictures
        self.cache = cache
        self._rotations: dict[int, Rotation] = {}

    def rotation(self, rope: Rope) -> Rotation:
        """Computed by the first layer that asks."""
        if id(rope) not in self._rotations:
            self._rotations[id(rope)] = rope.rotation(self.layout.positions)
        return self._rotations[id(rope)]


class Decoder:
    """A whole model. ``embedding_scale`` multiplies the embeddings, ``logit_scale`` the logits, and ``final_softcap``
    (0: none) bends them. ``positions``: ``position_embd`` is added; ``embedding_norm``: ``token_embd_norm`` is applied.
    Without ``output_bias``, one in the file is not used. ``norm_name``: the last norm's.

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
        logit_scale: float = 1.0,
        positions: bool = False,
        embedding_norm: bool = False,
        output_bias: bool = True,
        norm_name: str = "output_norm",
        causal: bool = True,
    ):
        self.causal, self.logit_scale = causal, logit_scale
        self.ops, self.config, self.blocks = weights.ops, config, tuple(blocks)
        self.embedding_scale, self.final_softcap = embedding_scale, final_softcap
        self.n_vocab = weights.shape("token_embd.weight")[0]
        self.embedding = weights.matrix("token_embd.weight", self.n_vocab, config.hidden_size)
        hidden = config.hidden_size
        self.positions = weights.matrix("position_embd.weight", config.context_length, hidden) if positions else None
        self.embedding_norm = stream_norm(weights, "token_embd_norm", config) if embedding_norm else None
        self.norm = stream_norm(weights, norm_name, config)
        head = "output" if "output.weight" in weights else "token_embd"
        own = head == "output"  # an adapter of the embedding is for looking up, not for a head that is the same
        self.output = Linear(weights, head, self.n_vocab, hidden, biased=output_bias, adapted=own, of_outputs=True)
        if config.n_guessing:
            weights.ignore_layers(config.n_layers)
        self.embedding_additions = weights.adapters.additions("token_embd.weight", (self.n_vocab, hidden))

    @property
    def kept(self) -> list[Kept]:
        """What the layers keep of a sequence."""
        return [block.kept for block in self.blocks]

    def forward(self, batch: Batch, cache: KVCache) -> torch.Tensor:
        """Logits float32 (n_outputs, n_vocab) of ``batch.output_rows``; keys and values go to ``cache``."""
        logits = self.output(*self.norm.lead(self._last_block(batch, cache)))
        if self.logit_scale != 1.0:
            logits = self.ops.scale(logits, self.logit_scale)
        return self.ops.softcap(logits, self.final_softcap) if self.final_softcap else logits

    def hidden(self, batch: Batch, cache: KVCache) -> torch.Tensor:
        """What the output head would read: float32 (n_outputs, hidden) of ``batch.output_rows``."""
        return self.norm(self._last_block(batch, cache))

    def _last_block(self, batch: Batch, cache: KVCache) -> torch.Tensor:
        """(n_outputs, hidden), not normalised."""
        step = Step(batch, cache)
        x = self.ops.embedding(batch.token_ids, self.embedding)
        if self.embedding_additions.active:
            self.embedding_additions.add_embedding(x, batch.token_ids)
        if self.embedding_scale != 1.0:
            x = self.ops.scale(x, self.embedding_scale)
        if batch.pictures is not None:  # never in a captured step
            x = batch.pictures.put(x)
        if self.positions is not None:
            x = self.ops.add(x, self.ops.embedding(batch.layout.positions, self.positions))
        if self.embedding_norm is not None:
            x = self.embedding_norm(x)
        for block in self.blocks:
            x = block(x, step)
        return self.ops.gather(x, batch.output_rows)
