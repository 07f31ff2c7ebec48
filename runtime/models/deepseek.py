"""DeepSeekMoE (arXiv:2401.06066): Llama's shape with many small experts, and some that all tokens share."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, GatedMlp, MoeMlp, PreNormBlock, read_rope
from ..weights import Weights

ARCHITECTURES = ("deepseek",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, interleaved_rope=True)
    spec = AttentionSpec(config.attention_scale)
    rope = read_rope(weights, config)

    def block(layer: int) -> PreNormBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec)
        if config.is_dense(layer):
            return PreNormBlock(weights, config, layer, attention, GatedMlp(weights, config, layer, "silu"))
        return PreNormBlock(weights, config, layer, attention, MoeMlp(weights, config, layer, normalize=False))

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
