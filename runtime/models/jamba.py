"""Jamba (arXiv:2403.19887): a layer of attention among several of Mamba, experts in some; no positions at all."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, GatedMlp, Mamba, MoeMlp, NoRope, PreNormBlock
from ..ssm_config import read_mamba_config
from ..weights import Weights

ARCHITECTURES = ("jamba",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config, ssm = read_decoder_config(meta), read_mamba_config(meta)
    kv_heads = meta.layer_counts("attention.head_count_kv", config.n_layers)
    spec, rope = AttentionSpec(config.attention_scale), NoRope(weights.ops)

    def mixer(layer: int) -> Attention | Mamba:
        if kv_heads[layer]:
            return Attention(weights, config, layer, rope=rope, spec=spec)
        return Mamba(weights, config, layer, ssm)

    def mlp(layer: int) -> GatedMlp | MoeMlp:
        if config.moe and f"blk.{layer}.ffn_gate_inp.weight" in weights:
            return MoeMlp(weights, config, layer, gating="softmax", normalize=False)
        return GatedMlp(weights, config, layer, "silu")

    def block(layer: int) -> PreNormBlock:
        return PreNormBlock(weights, config, layer, mixer(layer), mlp(layer))

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
