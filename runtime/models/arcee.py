"""Arcee's AFM: Llama's shape with a plain feed-forward layer and squared ReLU."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, PlainMlp, PreNormBlock, read_rope
from ..weights import Weights

ARCHITECTURES = ("arcee",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, interleaved_rope=True)
    spec = AttentionSpec(config.attention_scale)
    rope = read_rope(weights, config)

    def block(layer: int) -> PreNormBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec)
        return PreNormBlock(weights, config, layer, attention, PlainMlp(weights, config, layer, "relu_sqr"))

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
