"""Qwen 1.5 and 2 MoE (arXiv:2407.10671): Qwen 2 with experts, and a gated one that all tokens share."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, MoeMlp, PreNormBlock, Rope
from ..weights import Weights

ARCHITECTURES = ("qwen2moe",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta)
    spec = AttentionSpec(config.attention_scale)
    rope = Rope(weights.ops, config.rope)

    def block(layer: int) -> PreNormBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec)
        return PreNormBlock(weights, config, layer, attention, MoeMlp(weights, config, layer, normalize=False))

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
