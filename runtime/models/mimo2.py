"""MiMo V2 (Xiaomi): sliding windows with sinks and a rope of their own in most layers, experts chosen by sigmoids."""

from __future__ import annotations

from dataclasses import replace

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config, read_windows
from ..layers import Attention, Decoder, GatedMlp, MoeMlp, PreNormBlock, Rope
from ..weights import Weights

ARCHITECTURES = ("mimo2",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta)
    meta.unsupported("attention.value_scale")
    windows = read_windows(meta, config.n_layers, every=6)
    full_rope = Rope(weights.ops, config.rope)
    local_rope = Rope(weights.ops, replace(config.rope, base=meta.factor("rope.freq_base_swa", config.rope.base)))

    def block(layer: int) -> PreNormBlock:
        sinks = weights.optional_vector(f"blk.{layer}.attn_sinks.weight", config.n_heads)
        spec = AttentionSpec(config.attention_scale, windows[layer], sinks=sinks)
        rope = local_rope if windows[layer] else full_rope
        attention = Attention(weights, config, layer, rope=rope, spec=spec, input_bias=False)
        has_experts = f"blk.{layer}.ffn_gate_inp.weight" in weights
        weights.ignore(*unused(layer, has_experts))
        mlp = (
            MoeMlp(weights, config, layer, gating="sigmoid", normalize=True)
            if has_experts
            else GatedMlp(weights, config, layer, "silu")
        )
        return PreNormBlock(weights, config, layer, attention, mlp)

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])


def unused(layer: int, has_experts: bool) -> list[str]:
    """Dense matrices that stand beside experts in some files, and are not read."""
    kinds = ("weight", "scale") if has_experts else ()
    return [f"blk.{layer}.ffn_{name}.{kind}" for name in ("gate", "up", "down") for kind in kinds]
