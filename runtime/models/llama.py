"""Llama (arXiv:2302.13971) and what shares its shape: Mistral, Ministral, SmolLM, InternLM 2,
Baichuan, and with experts Mixtral. Ministral 3 sharpens queries with their position, beyond the context it was trained
with before YaRN.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from gristmill.kernels.specs import AttentionSpec

from ..config import DecoderConfig, Metadata, read_decoder_config
from ..layers import Attention, Decoder, GatedMlp, MoeMlp, PreNormBlock, read_rope, temperatures
from ..weights import Weights

ARCHITECTURES = ("llama", "mistral3", "internlm2", "baichuan")
SCALED_MLP = ("llama", "mistral3")  # the feed-forward layers' scales are used


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, interleaved_rope=True)
    heat = None
    if meta.architecture == "mistral3":
        config, heat = _stretched(meta, config), _temperatures(meta, config, n_ctx)
    else:
        meta.unsupported("attention.temperature_scale", "rope.scaling.yarn_log_multiplier")
    spec = AttentionSpec(config.attention_scale)
    rope = read_rope(weights, config)

    def block(layer: int) -> PreNormBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec, temperatures=heat)
        mlp: GatedMlp | MoeMlp
        if config.moe is None:
            mlp = GatedMlp(weights, config, layer, "silu", scaled=meta.architecture in SCALED_MLP)
        else:
            mlp = MoeMlp(weights, config, layer, scaled=True, normalize=True)
        return PreNormBlock(weights, config, layer, attention, mlp)

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])


def _stretched(meta: Metadata, config: DecoderConfig) -> DecoderConfig:
    """With YaRN that multiplies what turns by t(1) / t(m), t(m) = 1 + m / 10 * ln(factor)."""
    rope, m = config.rope, meta.number("rope.scaling.yarn_log_multiplier", 0.0)
    if rope.scaling != "yarn":
        return config
    factor = rope.attention_factor / (1 + 0.1 * m * math.log(rope.factor))
    return replace(config, rope=replace(rope, attention_factor=factor))


def _temperatures(meta: Metadata, config: DecoderConfig, n_ctx: int) -> torch.Tensor | None:
    scale, length = meta.number("attention.temperature_scale", 0.0), config.rope.original_context
    if not scale:
        return None
    if not length:
        raise meta.refuse("attention.temperature_scale", "needs rope.scaling.original_context_length")
    return temperatures(n_ctx, length, scale, first=0)
