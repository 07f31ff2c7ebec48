"""Refact 1.6B (2023): Llama's shape with slopes in attention in place of rotary pairs."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, GatedMlp, NoRope, PreNormBlock, alibi_slopes
from ..weights import Weights

ARCHITECTURES = ("refact",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta)
    slopes = alibi_slopes(config.n_heads, meta.factor("attention.max_alibi_bias", 8.0), weights.ops.device)
    spec = AttentionSpec(config.attention_scale, slopes=slopes)
    rope = NoRope(weights.ops)
    weights.ignore("rope_freqs.weight")

    def block(layer: int) -> PreNormBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec, output_bias=False)
        return PreNormBlock(weights, config, layer, attention, GatedMlp(weights, config, layer, "silu", biased=False))

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
