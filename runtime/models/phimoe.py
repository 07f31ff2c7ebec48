"""Phi 3.5 MoE (arXiv:2404.14219): Phi 3 with experts, biases everywhere and separate q, k and v."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, MoeMlp, PreNormBlock, Rope, longrope_factors
from ..weights import Weights

ARCHITECTURES = ("phimoe",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, norm="rms-bias")
    spec = AttentionSpec(config.attention_scale)
    rope = Rope(weights.ops, config.rope, longrope_factors(config, weights, n_ctx))

    def block(layer: int) -> PreNormBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec)
        return PreNormBlock(weights, config, layer, attention, MoeMlp(weights, config, layer, normalize=True))

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
