"""Ling 2 and Ring 2 (arXiv:2507.17702): fused q, k and v with normalised heads; experts in groups, chosen by
sigmoids.
"""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, GatedMlp, MoeMlp, PreNormBlock, Rope
from ..weights import Weights

ARCHITECTURES = ("bailingmoe2",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta)
    spec = AttentionSpec(config.attention_scale)
    rope = Rope(weights.ops, config.rope)

    def block(layer: int) -> PreNormBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec, qk_norm="heads")
        if config.is_dense(layer):
            return PreNormBlock(weights, config, layer, attention, GatedMlp(weights, config, layer, "silu"))
        return PreNormBlock(weights, config, layer, attention, MoeMlp(weights, config, layer))

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
