"""OLMo 2 (arXiv:2501.00656) and 3: norms on what layers add, and on all heads of q and k at once.

OLMo 3 has a sliding window in three layers of four; these turn without the scaling of the others.
"""

from __future__ import annotations

from dataclasses import replace

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config, read_windows
from ..layers import AddedNormBlock, Attention, Decoder, GatedMlp, Rope
from ..weights import Weights

ARCHITECTURES = ("olmo2",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta)
    windows = read_windows(meta, config.n_layers, every=4)
    full_rope = Rope(weights.ops, config.rope)
    local_rope = Rope(weights.ops, replace(config.rope, scaling="none", factor=1.0, attention_factor=1.0))

    def block(layer: int) -> AddedNormBlock:
        spec = AttentionSpec(config.attention_scale, windows[layer])
        rope = local_rope if windows[layer] else full_rope
        attention = Attention(weights, config, layer, rope=rope, spec=spec, qk_norm="rows")
        return AddedNormBlock(weights, config, layer, attention, GatedMlp(weights, config, layer, "silu"))

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
