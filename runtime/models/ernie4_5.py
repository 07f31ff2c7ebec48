"""ERNIE 4.5 (Baidu), dense, and PaddleOCR-VL's text side, whose pairs are half-split: Llama's shape."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, GatedMlp, PreNormBlock, Rope
from ..weights import Weights

ARCHITECTURES = (
    "ernie4_5",
    "paddleocr",
)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    is_text = meta.architecture == "ernie4_5"
    config = read_decoder_config(meta, interleaved_rope=is_text)
    spec = AttentionSpec(config.attention_scale)
    rope = Rope(weights.ops, config.rope)

    def block(layer: int) -> PreNormBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec, output_bias=not is_text)
        return PreNormBlock(weights, config, layer, attention, GatedMlp(weights, config, layer, "silu"))

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
