"""Hunyuan (Tencent, 2024 and 2025), dense and with experts: Llama's shape, queries and keys normalised after they are
turned. The model with experts has one that all tokens share.
"""

from __future__ import annotations

from dataclasses import replace

from gristmill.kernels.specs import AttentionSpec

from ..config import DecoderConfig, Metadata, read_decoder_config
from ..layers import Attention, Decoder, GatedMlp, MoeMlp, PreNormBlock, read_rope
from ..weights import Weights

ARCHITECTURES = ("hunyuan-dense", "hunyuan-moe")


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = _read_config(meta)
    spec = AttentionSpec(config.attention_scale)
    rope = read_rope(weights, config)

    def block(layer: int) -> PreNormBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec, qk_norm="heads-last")
        mlp = MoeMlp(weights, config, layer, normalize=True) if config.moe else GatedMlp(weights, config, layer, "silu")
        return PreNormBlock(weights, config, layer, attention, mlp)

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])


def _read_config(meta: Metadata) -> DecoderConfig:
    """Experts are as wide as ``feed_forward_length`` says, and so is the shared one if nothing else is said of it.

    Contexts are stretched by the base of the angles (``rope.scaling.alpha``): base * alpha^(dim / (dim - 2)).
    """
    config = read_decoder_config(meta)
    if meta.architecture == "hunyuan-dense":
        alpha = meta.factor("rope.scaling.alpha")
        base = config.rope.base * alpha ** (config.key_dim / (config.key_dim - 2))
        return replace(config, moe=None, rope=replace(config.rope, base=base))
    if config.moe is None:
        raise meta.refuse("expert_count", "expected at least 1")
    shared = meta.count("expert_shared_feed_forward_length", 0, low=0) or config.ffn_size
    return replace(config, moe=replace(config.moe, ffn_size=config.ffn_size, shared_size=shared))
