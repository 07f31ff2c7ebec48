"""OLMoE (arXiv:2409.02060): norms on all heads of q and k at once, experts weighed without normalisation."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, MoeMlp, PreNormBlock, Rope
from ..weights import Weights

ARCHITECTURES = ("olmoe",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta)
    spec = AttentionSpec(config.attention_scale)
    rope = Rope(weights.ops, config.rope)

    def block(layer: int) -> PreNormBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec, qk_norm="rows")
        return PreNormBlock(weights, config, layer, attention, MoeMlp(weights, config, layer, normalize=False))

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
