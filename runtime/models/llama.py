"""Llama (arXiv:2302.13971) and what shares its shape: Mistral, Ministral, SmolLM, InternLM 2,
Baichuan, and with experts Mixtral. Ministral 3 sharpens queries with their position, beyond the context it was trained
with before YaRN.
"""

from __future__ import annotations

from dataclasses import replace

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, GatedMlp, MoeMlp, PreNormBlock, read_rope, read_temperatures, yarn_magnitude
from ..weights import Weights

ARCHITECTURES = ("llama", "mistral3", "internlm2", "baichuan")
SCALED_MLP = ("llama", "mistral3")  # the feed-forward layers' scales are used


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, interleaved_rope=True)
    heat = None
    if meta.architecture == "mistral3":
        heat = read_temperatures(meta, n_ctx, config.rope.original_context)
        if config.rope.scaling == "yarn":
            m = meta.number("rope.scaling.yarn_log_multiplier", 0.0)
            config = replace(config, rope=yarn_magnitude(config.rope, m))
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
