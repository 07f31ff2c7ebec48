"""Nemotron-H (arXiv:2504.03624): each layer is one of Mamba 2, attention without positions, or squared ReLU."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, Mamba2, MixerBlock, MlpBlock, NoRope, PlainMlp
from ..ssm_config import read_mamba2_config
from ..weights import Weights

ARCHITECTURES = ("nemotron_h",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    meta.unsupported("expert_count")
    config, ssm = read_decoder_config(meta), read_mamba2_config(meta)
    kv_heads = meta.layer_counts("attention.head_count_kv", config.n_layers)
    ffn_sizes = meta.layer_counts("feed_forward_length", config.n_layers)
    spec = AttentionSpec(meta.factor("attention.scale", config.attention_scale))
    rope = NoRope(weights.ops)

    def block(layer: int) -> MixerBlock | MlpBlock:
        if ffn_sizes[layer]:
            return MlpBlock(weights, config, layer, PlainMlp(weights, config, layer, "relu_sqr", scaled=True))
        if kv_heads[layer]:
            return MixerBlock(weights, config, layer, Attention(weights, config, layer, rope=rope, spec=spec))
        return MixerBlock(weights, config, layer, Mamba2(weights, config, layer, ssm))

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
