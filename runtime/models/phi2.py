"""Phi 1 to 2 (arXiv:2306.11644): one layer norm in front of both layers, part of each head turns, biases everywhere."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, ParallelBlock, PlainMlp, Rope
from ..weights import Weights

ARCHITECTURES = ("phi2",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, norm="layer")
    spec = AttentionSpec(config.attention_scale)
    rope = Rope(weights.ops, config.rope)

    def block(layer: int) -> ParallelBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec)
        return ParallelBlock(weights, config, layer, attention, PlainMlp(weights, config, layer, "gelu"))

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
