"""BERT (arXiv:1810.04805) and what shares its shape: MiniLM, BGE, E5, GTE, and cross-encoders."""

from __future__ import annotations

from dataclasses import replace

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_encoder_config
from ..layers import Attention, Encoder, PlainMlp, PostNormBlock, Rope
from ..weights import Weights

ARCHITECTURES = ("bert",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Encoder:
    config = read_encoder_config(meta)
    spec = AttentionSpec(config.attention_scale, causal=False)
    still = Rope(weights.ops, replace(config.rope, dim=0))  # positions are embedded, no element turns

    def block(layer: int) -> PostNormBlock:
        attention = Attention(weights, config, layer, rope=still, spec=spec)
        return PostNormBlock(weights, config, layer, attention, PlainMlp(weights, config, layer, "gelu_erf"))

    return Encoder(weights, config, [block(layer) for layer in range(config.n_layers)], positions=True)
