"""Kimi Linear (arXiv:2510.26692): Kimi delta attention in three layers of four, latent attention that nothing turns in
the others, and many small experts behind some dense layers.
"""

from __future__ import annotations

import math

from ..config import Metadata, read_decoder_config
from ..layers import (
    Decoder,
    GatedMlp,
    KimiDelta,
    LatentAttention,
    MoeMlp,
    NoRope,
    PreNormBlock,
    read_latent_config,
)
from ..ssm_config import read_conv_width
from ..weights import Weights

ARCHITECTURES = ("kimi-linear",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta)
    if config.moe is None:
        raise meta.refuse("expert_count", "expected experts, got 0")
    latent = read_latent_config(meta, config)
    head_dim, conv_width = meta.count("kda.head_dim"), read_conv_width(meta)
    n_kv_heads = meta.layer_counts("attention.head_count_kv", config.n_layers)
    rope, scale = NoRope(weights.ops), 1.0 / math.sqrt(latent.key_dim)

    def block(layer: int) -> PreNormBlock:
        mixer: KimiDelta | LatentAttention
        if n_kv_heads[layer]:
            mixer = LatentAttention(weights, config, latent, layer, rope=rope, scale=scale)
        else:
            mixer = KimiDelta(weights, config, layer, head_dim=head_dim, conv_width=conv_width)
        is_dense = config.is_dense(layer)
        mlp = GatedMlp(weights, config, layer, "silu") if is_dense else MoeMlp(weights, config, layer, normalize=True)
        return PreNormBlock(weights, config, layer, mixer, mlp)

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
