"""ERNIE 4.5 with experts (Baidu): every few layers, after some dense ones, and experts that all tokens share."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, GatedMlp, MoeMlp, PreNormBlock, Rope
from ..weights import Weights

ARCHITECTURES = ("ernie4_5-moe",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, interleaved_rope=True)
    step = meta.count("interleave_moe_layer_step", 1)
    spec = AttentionSpec(config.attention_scale)
    rope = Rope(weights.ops, config.rope)

    def block(layer: int) -> PreNormBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec, output_bias=False)
        if config.is_dense(layer) or (layer + 1) % step:
            return PreNormBlock(weights, config, layer, attention, GatedMlp(weights, config, layer, "silu"))
        return PreNormBlock(weights, config, layer, attention, MoeMlp(weights, config, layer, normalize=True))

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
