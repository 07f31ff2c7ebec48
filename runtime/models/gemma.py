"""Gemma (arXiv:2403.08295): Llama's shape with GELU gates and embeddings scaled by the root of the width."""

from __future__ import annotations

import math

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, GatedMlp, PreNormBlock, Rope
from ..weights import Weights

ARCHITECTURES = ("gemma",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta)
    spec = AttentionSpec(config.attention_scale)
    rope = Rope(weights.ops, config.rope)

    def block(layer: int) -> PreNormBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec)
        return PreNormBlock(weights, config, layer, attention, GatedMlp(weights, config, layer, "gelu"))

    blocks = [block(layer) for layer in range(config.n_layers)]
    return Decoder(weights, config, blocks, embedding_scale=math.sqrt(config.hidden_size))
