"""Qwen 3 (arXiv:2505.09388): Llama's shape with normalised heads and half-split rotary pairs."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, GatedMlp, PreNormBlock, Rope
from ..weights import Weights

ARCHITECTURES = ("qwen3", "qwen3vl")


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, interleaved_rope=False)
    spec = AttentionSpec(config.attention_scale)
    rope = Rope(weights.ops, config.rope)
    weights.ignore("cls.output.weight")  # the classifier of reranking models

    def block(layer: int) -> PreNormBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec, qk_norm="heads")
        mlp = GatedMlp(weights, config, layer, "silu", scaled=meta.architecture == "qwen3")
        return PreNormBlock(weights, config, layer, attention, mlp)

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
