"""DeepSeek-V2, V3 and R1 (arXiv:2405.04434, arXiv:2412.19437), Kimi K2, GLM-4.7-Flash and, as ``mistral4``, Mistral 4:
latent attention, and many small experts behind some dense layers.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from ..config import DecoderConfig, Metadata, read_decoder_config
from ..layers import (
    Decoder,
    GatedMlp,
    LatentAttention,
    MoeMlp,
    PreNormBlock,
    Rope,
    read_latent_config,
    read_temperatures,
    yarn_magnitude,
)
from ..weights import Weights

ARCHITECTURES = ("deepseek2", "mistral4")


_SIGMOID_VOCABULARY = 154880  # of GLM-4.7-Flash, whose first files leave the gating open
_TEMPERATURE_LENGTH = 8192


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, interleaved_rope=True)
    latent = read_latent_config(meta, config)
    config, stretch = stretched(meta, config)
    rope, scale = Rope(weights.ops, config.rope), stretch / math.sqrt(latent.key_dim)
    heat = read_temperatures(meta, n_ctx, meta.factor("attention.temperature_length", _TEMPERATURE_LENGTH))
    routing: dict[str, Any] = {"gating": "sigmoid"} if _is_sigmoid(meta, weights) else {}

    def block(layer: int) -> PreNormBlock:
        attention = LatentAttention(weights, config, latent, layer, rope=rope, scale=scale, temperatures=heat)
        is_dense = config.is_dense(layer)
        mlp = GatedMlp(weights, config, layer, "silu") if is_dense else MoeMlp(weights, config, layer, **routing)
        return PreNormBlock(weights, config, layer, attention, mlp)

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])


def stretched(meta: Metadata, config: DecoderConfig) -> tuple[DecoderConfig, float]:
    """With YaRN as DeepSeek has it, and what scores are multiplied by for it.

    What turns is multiplied by t(a) / t(m) (see ``yarn_magnitude``), and all scores by t(m)^2: m is the model's
    ``mscale_all_dim``, of which files hold a tenth, and a, its ``mscale``, is m in DeepSeek's models and 1 in others.
    """
    rope = config.rope
    if rope.scaling != "yarn" or not rope.extrapolation:
        return config, 1.0
    m = meta.number("rope.scaling.yarn_log_multiplier", 0.0) / 0.1
    a = m if m and meta.architecture == "deepseek2" else 1.0
    scale = rope.attention_factor * (1 + a * 0.1 * math.log(rope.factor))
    return replace(config, rope=yarn_magnitude(rope, m, a)), scale**2


def _is_sigmoid(meta: Metadata, weights: Weights) -> bool:
    is_open = not meta.count("expert_gating_func", 0, low=0)
    return is_open and weights.shape("token_embd.weight")[0] == _SIGMOID_VOCABULARY
