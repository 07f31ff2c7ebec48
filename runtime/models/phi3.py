"""Phi 3 and 3.5 (arXiv:2404.14219): fused projections, and LongRoPE factors for short and for long contexts.

Sliding windows in files (2047 in Phi-3-mini-4k) are not applied, as peers do not apply them here.
"""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, FusedGatedMlp, PreNormBlock, Rope, longrope_factors
from ..weights import Weights

ARCHITECTURES = ("phi3",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, interleaved_rope=False)
    spec = AttentionSpec(config.attention_scale)
    rope = Rope(weights.ops, config.rope, longrope_factors(config, weights, n_ctx))

    def block(layer: int) -> PreNormBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec)
        return PreNormBlock(weights, config, layer, attention, FusedGatedMlp(weights, config, layer, "silu"))

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
