"""From the hidden states of a text's tokens to its vector, or to a reranker's score."""

from __future__ import annotations

from enum import IntEnum

import torch

from ..config import DecoderConfig, Metadata
from ..errors import UnsupportedModel
from ..weights import Weights
from .linear import Linear

_UNSPECIFIED = (-1, 0xFFFFFFFF)  # -1, and how files of unsigned numbers hold it
_HEAD = ("cls.weight", "cls.bias", "cls.output.weight", "cls.output.bias")


class PoolingType(IntEnum):
    """Values of ``{arch}.pooling_type`` (llama.h, enum llama_pooling_type)."""

    NONE = 0
    MEAN = 1
    CLS = 2
    LAST = 3
    RANK = 4


class Pooling:
    """Which tokens' states count, and what is done to them afterwards.

    Where the file names none, it is ``MEAN`` for encoders and ``LAST`` for decoders. ``RANK`` gives scores by the
    classifier ``cls`` (through tanh) and ``cls.output``; a decoder's are probabilities. ``dim``: numbers that come out.
    """

    def __init__(self, meta: Metadata, weights: Weights, config: DecoderConfig, *, causal: bool):
        self.ops, self.causal = weights.ops, causal
        self.kind = _read_type(meta) or (PoolingType.LAST if causal else PoolingType.MEAN)
        self.dim = config.hidden_size
        self.classifier: Linear | None = None
        self.scorer: Linear | None = None
        self.dense: list[Linear] = []
        if self.kind is PoolingType.RANK:
            self._read_classifier(meta, weights)
        else:
            self._read_dense(weights)
        weights.ignore(*_HEAD)

    @property
    def is_score(self) -> bool:
        """Whether scores come out, which have no direction that could be normalised."""
        return self.kind is PoolingType.RANK

    @property
    def reads_last(self) -> bool:
        """Whether the last token stands for the text."""
        return self.kind is PoolingType.LAST or (self.kind is PoolingType.RANK and self.causal)

    def head(self, pooled: torch.Tensor) -> torch.Tensor:
        """pooled (n, hidden) -> (n, dim)."""
        for dense in self.dense:
            pooled = dense(pooled)
        if self.classifier is not None:
            pooled = self.ops.softcap(self.classifier(pooled), 1.0)  # tanh
        if self.scorer is not None:
            pooled = self.scorer(pooled)
        return pooled.softmax(-1) if self.is_score and self.causal else pooled

    def _read_classifier(self, meta: Metadata, weights: Weights) -> None:
        if not any(name in weights for name in _HEAD):
            raise meta.refuse("pooling_type", "4 (rank) needs the tensor cls.weight or cls.output.weight")
        if "cls.weight" in weights:
            self.classifier = self._linear(weights, "cls")
        if "cls.output.weight" in weights:
            self.scorer = self._linear(weights, "cls.output")

    def _read_dense(self, weights: Weights) -> None:
        """EmbeddingGemma's two layers behind the pooling."""
        names = [name for name in ("dense_2", "dense_3") if f"{name}.weight" in weights]
        if len(names) == 1:
            raise UnsupportedModel(f"tensor {names[0]}.weight: there must be dense_2 and dense_3, or neither")
        self.dense = [self._linear(weights, name) for name in names]

    def _linear(self, weights: Weights, name: str) -> Linear:
        n_out = weights.shape(f"{name}.weight")[0]
        linear = Linear(weights, name, n_out, self.dim, scaled=False, adapted=False)
        self.dim = n_out
        return linear


def _read_type(meta: Metadata) -> PoolingType:
    """What the file says; ``NONE`` where it leaves it open."""
    if meta.get("pooling_type") in _UNSPECIFIED:
        return PoolingType.NONE
    return PoolingType(meta.count("pooling_type", 0, low=0, high=max(PoolingType)))
