"""Falcon (arXiv:2311.16867): both layers read the stream at once, in the 40B through a norm each."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, ParallelBlock, PlainMlp, Rope
from ..weights import Weights

ARCHITECTURES = ("falcon",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, norm="layer")
    spec = AttentionSpec(config.attention_scale)
    rope = Rope(weights.ops, config.rope)

    def block(layer: int) -> ParallelBlock:
        has_two = f"blk.{layer}.attn_norm_2.weight" in weights
        names = ("attn_norm_2", "attn_norm") if has_two else ("attn_norm", "")
        attention = Attention(weights, config, layer, rope=rope, spec=spec)
        mlp = PlainMlp(weights, config, layer, "gelu")
        return ParallelBlock(weights, config, layer, attention, mlp, names=names)

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
