"""Qwen 2 and 2.5 (arXiv:2407.10671): and the text side of Qwen 2 VL: Llama's shape with biases on q, k and v and
half-split rotary pairs.
"""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, GatedMlp, PreNormBlock, Rope
from ..weights import Weights

ARCHITECTURES = ("qwen2", "qwen2vl")


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, interleaved_rope=False)
    spec = AttentionSpec(config.attention_scale)
    rope = Rope(weights.ops, config.rope)

    def block(layer: int) -> PreNormBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec)
        return PreNormBlock(weights, config, layer, attention, GatedMlp(weights, config, layer, "silu"))

    blocks = [block(layer) for layer in range(config.n_layers)]
    return Decoder(weights, config, blocks, output_bias=meta.architecture == "qwen2")
