"""DBRX (Databricks, 2024): layer norms, fused q, k and v held within bounds, sixteen experts."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, MoeMlp, PreNormBlock, Rope
from ..weights import Weights

ARCHITECTURES = ("dbrx",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, norm="layer")
    clamp = meta.number("attention.clamp_kqv")
    spec = AttentionSpec(config.attention_scale)
    rope = Rope(weights.ops, config.rope)
    names = ("attn_norm", "attn_output_norm")

    def block(layer: int) -> PreNormBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec, clamp=clamp)
        mlp = MoeMlp(weights, config, layer, normalize=True)
        return PreNormBlock(weights, config, layer, attention, mlp, names=names)

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
