"""Nomic BERT (arXiv:2402.01613): BERT with rotary positions and a gated feed-forward layer."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_encoder_config
from ..layers import Attention, Encoder, GatedMlp, PostNormBlock, Rope
from ..weights import Weights

ARCHITECTURES = ("nomic-bert",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Encoder:
    config = read_encoder_config(meta)
    spec = AttentionSpec(config.attention_scale, causal=False)
    rope = Rope(weights.ops, config.rope)

    def block(layer: int) -> PostNormBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec)
        return PostNormBlock(weights, config, layer, attention, GatedMlp(weights, config, layer, "silu"))

    return Encoder(weights, config, [block(layer) for layer in range(config.n_layers)], positions=False)
