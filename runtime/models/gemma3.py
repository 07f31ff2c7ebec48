"""Gemma 3, text side (arXiv:2503.19786): Gemma 2's block with q and k norms, and two ropes.

Five of six layers see a sliding window and turn by ``rope.freq_base_swa`` (10,000 where the file does not say);
the sixth sees everything and turns by ``rope.freq_base``, with the file's scaling.
"""

from __future__ import annotations

import math
from dataclasses import replace

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, GatedMlp, Rope, SandwichBlock
from ..weights import Weights
from .gemma2 import attention_scale

ARCHITECTURES = ("gemma3",)
_LAYERS_27B = 62
_FULL_EVERY = 6


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    return build_gemma3(meta, weights, causal=True)


def build_gemma3(meta: Metadata, weights: Weights, *, causal: bool) -> Decoder:
    """Not ``causal``: tokens see those after them as well, in layers with a window half of it to either side."""
    config = read_decoder_config(meta, interleaved_rope=False)
    window = meta.count("attention.sliding_window", 0, low=0)
    windowed = meta.flags("attention.sliding_window_pattern", config.n_layers)
    scale = attention_scale(config, _LAYERS_27B)
    local_base = meta.number("rope.freq_base_swa", 10000.0, low=1.0)
    full_rope = Rope(weights.ops, config.rope)
    local_rope = Rope(weights.ops, replace(config.rope, base=local_base, scaling="none", factor=1.0))

    def block(layer: int) -> SandwichBlock:
        has_window = windowed[layer] if windowed else (layer + 1) % _FULL_EVERY != 0
        local = has_window and window > 0
        spec = AttentionSpec(scale, window if local else 0, causal=causal)
        rope = local_rope if local else full_rope
        attention = Attention(weights, config, layer, rope=rope, spec=spec, qk_norm="heads")
        return SandwichBlock(weights, config, layer, attention, GatedMlp(weights, config, layer, "gelu"))

    return Decoder(
        weights,
        config,
        [block(layer) for layer in range(config.n_layers)],
        embedding_scale=math.sqrt(config.hidden_size),
        final_softcap=meta.number("final_logit_softcapping", 0.0),
        causal=causal,
    )
