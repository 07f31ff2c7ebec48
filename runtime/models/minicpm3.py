"""MiniCPM 3 (arXiv:2404.06395): latent attention with LongRoPE, and MiniCPM's fixed factors on embeddings, additions
and logits.
"""

from __future__ import annotations

import math

from ..config import Metadata, read_decoder_config
from ..layers import Decoder, GatedMlp, LatentAttention, PreNormBlock, Rope, longrope_factors, read_latent_config
from ..weights import Weights

ARCHITECTURES = ("minicpm3",)


_EMBEDDING_SCALE, _DEPTH_SCALE, _WIDTH_OF_SMALLEST = 12.0, 1.4, 256


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta)
    latent = read_latent_config(meta, config)
    rope = Rope(weights.ops, config.rope, longrope_factors(config, weights, n_ctx))
    residual = _DEPTH_SCALE / math.sqrt(config.n_layers)

    def block(layer: int) -> PreNormBlock:
        attention = LatentAttention(weights, config, latent, layer, rope=rope, scale=config.attention_scale)
        mlp = GatedMlp(weights, config, layer, "silu")
        return PreNormBlock(weights, config, layer, attention, mlp, residual_scale=residual)

    return Decoder(
        weights,
        config,
        [block(layer) for layer in range(config.n_layers)],
        embedding_scale=_EMBEDDING_SCALE,
        logit_scale=_WIDTH_OF_SMALLEST / config.hidden_size,
    )
