"""Qwen 2 and 2.5 (arXiv:2407.10671): Llama's block with biases on q, k and v and half-split rotary pairs."""

from __future__ import annotations

from ..config import Metadata, read_decoder_config
from ..layers import Decoder, Rope
from ..weights import Weights
from .llama import Block

ARCHITECTURES = ("qwen2",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, interleaved_rope=False)
    rope = Rope(weights.ops, config.rope)
    blocks = [Block(weights, config, layer, rope, scaled_mlp=False) for layer in range(config.n_layers)]
    return Decoder(weights, config, blocks)
