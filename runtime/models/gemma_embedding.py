"""EmbeddingGemma (arXiv:2509.20354): Gemma 3 whose tokens see both sides. It makes embeddings only."""

from __future__ import annotations

from ..config import Metadata
from ..layers import Decoder
from ..weights import Weights
from .gemma3 import build_gemma3

ARCHITECTURES = ("gemma-embedding",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    meta.unsupported("attention.causal")
    return build_gemma3(meta, weights, causal=False)
