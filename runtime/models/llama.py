"""Llama (arXiv:2302.13971) and what shares its shape: Mistral, Ministral, SmolLM, and with experts Mixtral."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, GatedMlp, MoeMlp, PreNormBlock, Rope
from ..weights import Weights

ARCHITECTURES = ("llama", "mistral3")


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, interleaved_rope=True)
    meta.unsupported("attention.temperature_scale", "rope.scaling.yarn_log_multiplier")
    spec = AttentionSpec(config.attention_scale)
    rope = Rope(weights.ops, config.rope, weights.optional_vector("rope_freqs.weight", config.rope.dim // 2))

    def block(layer: int) -> PreNormBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec)
        mlp: GatedMlp | MoeMlp
        if config.moe is None:
            mlp = GatedMlp(weights, config, layer, "silu", scaled=True)
        else:
            mlp = MoeMlp(weights, config, config.moe, layer, "silu")
        return PreNormBlock(weights, config, layer, attention, mlp)

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
