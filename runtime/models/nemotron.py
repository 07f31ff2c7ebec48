"""Nemotron 4 and Minitron (arXiv:2402.16819): layer norms, squared ReLU. Files hold norm weights with the one added."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, PlainMlp, PreNormBlock, Rope
from ..weights import Weights

ARCHITECTURES = ("nemotron",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, norm="layer")
    spec = AttentionSpec(config.attention_scale)
    rope = Rope(weights.ops, config.rope)

    def block(layer: int) -> PreNormBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec)
        return PreNormBlock(weights, config, layer, attention, PlainMlp(weights, config, layer, "relu_sqr"))

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
