"""Qwen 3 Next: gated delta networks in three layers of four, gated attention in the others, and many small experts.

Files may hold one more layer, which guesses a token ahead; it is not used.
"""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import (
    Decoder,
    GatedAttention,
    GatedDeltaNet,
    MoeMlp,
    PreNormBlock,
    Rope,
    read_delta_config,
    read_recurrent_layers,
)
from ..weights import Weights

ARCHITECTURES = ("qwen3next",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta)
    recurrent = read_recurrent_layers(meta, config.n_layers + config.n_guessing)
    if config.moe is None:
        raise meta.refuse("expert_count", "expected experts, got 0")
    sizes = read_delta_config(meta)
    spec = AttentionSpec(meta.factor("attention.scale", config.attention_scale))
    rope = Rope(weights.ops, config.rope)
    names = ("attn_norm", "post_attention_norm")

    def block(layer: int) -> PreNormBlock:
        mixer: GatedDeltaNet | GatedAttention
        if recurrent[layer]:
            mixer = GatedDeltaNet(weights, config, layer, sizes)
        else:
            mixer = GatedAttention(weights, config, layer, rope=rope, spec=spec)
        mlp = MoeMlp(weights, config, layer, scaled=True, gating="softmax", normalize=True)
        return PreNormBlock(weights, config, layer, mixer, mlp, names=names)

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
