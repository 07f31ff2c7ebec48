"""Granite 3 (IBM), also with experts, and MiniCPM (arXiv:2404.06395): Llama's shape with fixed factors on embeddings,
attention, additions and logits. MiniCPM's factors have defaults, from its depth and width.
"""

from __future__ import annotations

import math

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, GatedMlp, MoeMlp, NoRope, PreNormBlock, read_rope
from ..weights import Weights

ARCHITECTURES = ("granite", "granitemoe", "minicpm")


_WIDTH_OF_SMALLEST = 256  # of MiniCPM


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, interleaved_rope=True)
    is_minicpm = meta.architecture == "minicpm"
    spec = AttentionSpec(meta.factor("attention.scale", config.attention_scale))
    turns = meta.architecture != "granite" or meta.flag("rope.scaling.finetuned", True)
    rope = read_rope(weights, config) if turns else NoRope(weights.ops)
    residual = meta.factor("residual_scale", 1.4 / math.sqrt(config.n_layers) if is_minicpm else 1.0)

    def block(layer: int) -> PreNormBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec)
        mlp = MoeMlp(weights, config, layer, normalize=True) if config.moe else GatedMlp(weights, config, layer, "silu")
        return PreNormBlock(weights, config, layer, attention, mlp, residual_scale=residual)

    return Decoder(
        weights,
        config,
        [block(layer) for layer in range(config.n_layers)],
        embedding_scale=meta.factor("embedding_scale", 12.0 if is_minicpm else 1.0),
        logit_scale=1.0 / meta.factor("logit_scale", config.hidden_size / _WIDTH_OF_SMALLEST if is_minicpm else 1.0),
    )
