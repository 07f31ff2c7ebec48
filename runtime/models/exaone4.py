"""EXAONE 4 (arXiv:2507.11407): norms on what layers add only, normalised heads. The 32B has three layers of four
on a sliding window, and only those turn q and k.
"""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config, read_windows
from ..layers import AddedNormBlock, Attention, Decoder, GatedMlp, NoRope, read_rope
from ..weights import Weights

ARCHITECTURES = ("exaone4",)


_LAYERS_32B = 64


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta)
    is_mixed = config.n_layers == _LAYERS_32B
    windows = read_windows(meta, config.n_layers, every=4) if is_mixed else [0] * config.n_layers
    turning, still = read_rope(weights, config), NoRope(weights.ops)

    def block(layer: int) -> AddedNormBlock:
        spec = AttentionSpec(config.attention_scale, windows[layer])
        rope = still if is_mixed and not windows[layer] else turning
        attention = Attention(weights, config, layer, rope=rope, spec=spec, qk_norm="heads")
        return AddedNormBlock(weights, config, layer, attention, GatedMlp(weights, config, layer, "silu"))

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
