"""Seed-OSS (ByteDance): Llama's shape with biases on q, k and v and another name for the second norm."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, GatedMlp, PreNormBlock, Rope
from ..weights import Weights

ARCHITECTURES = ("seed_oss",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta)
    spec = AttentionSpec(config.attention_scale)
    rope = Rope(weights.ops, config.rope)
    names = ("attn_norm", "post_attention_norm")

    def block(layer: int) -> PreNormBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec)
        return PreNormBlock(weights, config, layer, attention, GatedMlp(weights, config, layer, "silu"), names=names)

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
