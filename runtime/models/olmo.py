"""OLMo (arXiv:2402.00838): layer norms without weights; q, k and v held within bounds."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, GatedMlp, PreNormBlock, Rope
from ..weights import Weights

ARCHITECTURES = ("olmo",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, interleaved_rope=True, norm="plain")
    clamp = meta.number("attention.clamp_kqv", 0.0)
    spec = AttentionSpec(config.attention_scale)
    rope = Rope(weights.ops, config.rope)

    def block(layer: int) -> PreNormBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec, clamp=clamp)
        return PreNormBlock(weights, config, layer, attention, GatedMlp(weights, config, layer, "silu"))

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
