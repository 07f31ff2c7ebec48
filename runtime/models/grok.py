"""Grok 1 and 2 (xAI): embeddings, scores and logits scaled and bent, norms on what layers add, experts with GELU gates,
in Grok 2 beside a dense layer.
"""

from __future__ import annotations

import math

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, GatedMlp, MoeMlp, Rope, SandwichBlock, Sum
from ..weights import Weights

ARCHITECTURES = ("grok",)


_HALF_POWER = math.sqrt(0.5)  # of two sums of the same size


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta)
    scale = meta.factor("attention.output_scale", config.attention_scale)
    spec = AttentionSpec(scale, softcap=meta.factor("attn_logit_softcapping", 30.0))
    rope = Rope(weights.ops, config.rope)

    def block(layer: int) -> SandwichBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec)
        mlp: MoeMlp | Sum = MoeMlp(weights, config, layer, "gelu", normalize=True)
        post_ffn = "layer_output_norm" if f"blk.{layer}.layer_output_norm.weight" in weights else "post_ffw_norm"
        if f"blk.{layer}.ffn_up.weight" in weights:
            mlp = Sum(weights.ops, mlp, GatedMlp(weights, config, layer, "gelu"), _HALF_POWER)
        posts = ("attn_output_norm", post_ffn)
        return SandwichBlock(weights, config, layer, attention, mlp, post_names=posts)

    return Decoder(
        weights,
        config,
        [block(layer) for layer in range(config.n_layers)],
        embedding_scale=meta.factor("embedding_scale", math.sqrt(config.hidden_size)),
        logit_scale=meta.factor("logit_scale"),
        final_softcap=meta.number("final_logit_softcapping", 0.0),
    )
