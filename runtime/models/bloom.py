"""BLOOM (arXiv:2211.05100): no positions but slopes in attention, a norm behind the embedding, fused q, k and v."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, NoRope, PlainMlp, PreNormBlock, alibi_slopes
from ..weights import Weights

ARCHITECTURES = ("bloom",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, norm="layer")
    slopes = alibi_slopes(config.n_heads, meta.factor("attention.max_alibi_bias", 8.0), weights.ops.device)
    spec = AttentionSpec(config.attention_scale, slopes=slopes)
    rope = NoRope(weights.ops)

    def block(layer: int) -> PreNormBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec)
        return PreNormBlock(weights, config, layer, attention, PlainMlp(weights, config, layer, "gelu"))

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)], embedding_norm=True)
