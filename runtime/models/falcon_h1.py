"""Falcon-H1 (arXiv:2507.22448): in each layer attention and Mamba 2 side by side. Files have its multipliers in the
weights.
"""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, GatedMlp, Mamba2, PreNormBlock, SideBySide, read_rope
from ..ssm_config import read_mamba2_config
from ..weights import Weights

ARCHITECTURES = ("falcon-h1",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config, ssm = read_decoder_config(meta), read_mamba2_config(meta)
    spec = AttentionSpec(meta.factor("attention.scale", config.attention_scale))
    rope = read_rope(weights, config)

    def block(layer: int) -> PreNormBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec, output_bias=False)
        mixer = SideBySide(attention, Mamba2(weights, config, layer, ssm, normed=False))
        return PreNormBlock(weights, config, layer, mixer, GatedMlp(weights, config, layer, "silu"))

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
