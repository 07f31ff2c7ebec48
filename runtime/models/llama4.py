"""Llama 4 (Meta, 2025): three layers of four see chunks of the text and turn q and k; the fourth sees everything, does
not turn, and sharpens its queries with the position. Experts in some layers, weighed before they compute.
"""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config, read_windows
from ..layers import Attention, Decoder, GatedMlp, MoeMlp, NoRope, PreNormBlock, read_rope, temperatures
from ..weights import Weights

ARCHITECTURES = ("llama4",)


_STILL_EVERY = 4
_CHUNK = 8192
_EXPERTS_OF_MAVERICK = 128  # it does not normalise q and k


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, interleaved_rope=True)
    step = meta.count("interleave_moe_layer_step", 1)
    chunks = read_windows(meta, config.n_layers, every=_STILL_EVERY, window=_CHUNK)
    turning, still = read_rope(weights, config), NoRope(weights.ops)
    floor = meta.factor("attention.temperature_length", _CHUNK)
    heat = temperatures(n_ctx, floor, meta.factor("attention.temperature_scale", 0.1))
    normed = config.moe is None or config.moe.n_experts != _EXPERTS_OF_MAVERICK

    def block(layer: int) -> PreNormBlock:
        turns = (layer + 1) % _STILL_EVERY != 0
        spec = AttentionSpec(config.attention_scale, chunk=chunks[layer])
        attention = Attention(
            weights,
            config,
            layer,
            rope=turning if turns else still,
            spec=spec,
            qk_norm="plain" if turns and normed else "",
            temperatures=None if turns else heat,
        )
        has_experts = config.moe is not None and (layer + 1) % step == 0
        mlp = (
            MoeMlp(weights, config, layer, gating="sigmoid", normalize=False, weighs_input=True)
            if has_experts
            else GatedMlp(weights, config, layer, "silu")
        )
        return PreNormBlock(weights, config, layer, attention, mlp)

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
