"""MPT (MosaicML, 2023): slopes in attention or learned positions; fused q, k and v held within bounds."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, NoRope, PlainMlp, PreNormBlock, alibi_slopes
from ..weights import Weights

ARCHITECTURES = ("mpt",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, norm="layer")
    max_bias = meta.number("attention.max_alibi_bias", 0.0)
    slopes = alibi_slopes(config.n_heads, max_bias, weights.ops.device) if max_bias else None
    spec = AttentionSpec(config.attention_scale, slopes=slopes)
    rope = NoRope(weights.ops)
    clamp = meta.number("attention.clamp_kqv", 0.0)

    def block(layer: int) -> PreNormBlock:
        names = [f"blk.{layer}.attn_{x}_norm" for x in "qk"]
        qk_norm = "layer" if f"{names[0]}.weight" in weights else ""  # one without the other is not used
        weights.ignore(*(f"{name}.{kind}" for name in names for kind in ("weight", "bias")))
        attention = Attention(weights, config, layer, rope=rope, spec=spec, clamp=clamp, qk_norm=qk_norm)
        return PreNormBlock(weights, config, layer, attention, PlainMlp(weights, config, layer, "gelu"))

    blocks = [block(layer) for layer in range(config.n_layers)]
    return Decoder(weights, config, blocks, positions="position_embd.weight" in weights)
