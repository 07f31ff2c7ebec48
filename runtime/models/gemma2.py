"""Gemma 2 (arXiv:2408.00118): norms around both layers, soft caps, every second layer with a sliding window."""

from __future__ import annotations

import math

from gristmill.kernels.specs import AttentionSpec

from ..config import DecoderConfig, Metadata, read_decoder_config
from ..layers import Attention, Decoder, GatedMlp, Rope, SandwichBlock
from ..weights import Weights

ARCHITECTURES = ("gemma2",)
_LAYERS_27B = 46


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, interleaved_rope=False)
    window = meta.count("attention.sliding_window", 4096)
    windowed = meta.flags("attention.sliding_window_pattern", config.n_layers)
    scale = attention_scale(config, _LAYERS_27B)
    softcap = meta.number("attn_logit_softcapping", 50.0)
    rope = Rope(weights.ops, config.rope)

    def block(layer: int) -> SandwichBlock:
        has_window = windowed[layer] if windowed else layer % 2 == 0
        spec = AttentionSpec(scale, window if has_window else 0, softcap)
        attention = Attention(weights, config, layer, rope=rope, spec=spec)
        return SandwichBlock(weights, config, layer, attention, GatedMlp(weights, config, layer, "gelu"))

    return Decoder(
        weights,
        config,
        [block(layer) for layer in range(config.n_layers)],
        embedding_scale=math.sqrt(config.hidden_size),
        final_softcap=meta.number("final_logit_softcapping", 30.0),
    )


def attention_scale(config: DecoderConfig, layers_27b: int) -> float:
    """1 / sqrt(head_dim), but 1 / sqrt(hidden / n_heads) in the 27B model, which only its depth tells apart."""
    if config.n_layers == layers_27b:
        return 1.0 / math.sqrt(config.hidden_size / config.n_heads)
    return config.attention_scale
