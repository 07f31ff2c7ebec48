"""Command R and R+ (Cohere): both layers read the stream through one layer norm without bias; logits are scaled."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, GatedMlp, ParallelBlock, Rope
from ..weights import Weights

ARCHITECTURES = ("command-r",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, interleaved_rope=True, norm="layer")
    spec = AttentionSpec(config.attention_scale)
    rope = Rope(weights.ops, config.rope)

    def block(layer: int) -> ParallelBlock:
        qk_norm = "each" if f"blk.{layer}.attn_q_norm.weight" in weights else ""
        attention = Attention(weights, config, layer, rope=rope, spec=spec, qk_norm=qk_norm)
        return ParallelBlock(weights, config, layer, attention, GatedMlp(weights, config, layer, "silu"))

    blocks = [block(layer) for layer in range(config.n_layers)]
    return Decoder(weights, config, blocks, logit_scale=meta.factor("logit_scale"))
