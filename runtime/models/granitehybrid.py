"""Granite 4 (IBM): Granite's fixed factors over layers of Mamba 2 and a few of attention, also with experts."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, GatedMlp, Mamba2, MoeMlp, NoRope, PreNormBlock, read_rope
from ..ssm_config import read_mamba2_config
from ..weights import Weights

ARCHITECTURES = ("granitehybrid",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config, ssm = read_decoder_config(meta, interleaved_rope=True), read_mamba2_config(meta)
    kv_heads = meta.layer_counts("attention.head_count_kv", config.n_layers)
    spec = AttentionSpec(meta.factor("attention.scale", config.attention_scale))
    turns = meta.flag("rope.scaling.finetuned", True)
    rope = read_rope(weights, config) if turns else NoRope(weights.ops)
    residual = meta.factor("residual_scale")

    def mixer(layer: int) -> Attention | Mamba2:
        if kv_heads[layer]:
            return Attention(weights, config, layer, rope=rope, spec=spec)
        return Mamba2(weights, config, layer, ssm)

    def mlp(layer: int) -> GatedMlp | MoeMlp:
        if config.moe:
            return MoeMlp(weights, config, layer, gating="softmax", normalize=True)
        return GatedMlp(weights, config, layer, "silu")

    def block(layer: int) -> PreNormBlock:
        return PreNormBlock(weights, config, layer, mixer(layer), mlp(layer), residual_scale=residual)

    return Decoder(
        weights,
        config,
        [block(layer) for layer in range(config.n_layers)],
        embedding_scale=meta.factor("embedding_scale"),
        logit_scale=1.0 / meta.factor("logit_scale"),
    )
