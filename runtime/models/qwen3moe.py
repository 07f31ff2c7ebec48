"""Qwen 3 MoE (arXiv:2505.09388), and the text side of Qwen 3 VL MoE: Qwen 3 with experts."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, MoeMlp, PreNormBlock, Rope
from ..weights import Weights

ARCHITECTURES = (
    "qwen3moe",
    "qwen3vlmoe",
)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta)
    spec = AttentionSpec(config.attention_scale)
    rope = Rope(weights.ops, config.rope)

    def block(layer: int) -> PreNormBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec, qk_norm="heads")
        mlp = MoeMlp(weights, config, layer, scaled=meta.architecture == "qwen3moe", normalize=True)
        return PreNormBlock(weights, config, layer, attention, mlp)

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
