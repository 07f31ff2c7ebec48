"""Gemma 2 (arXiv:2408.00118): norms around both layers, soft caps, every second layer with a sliding window."""

from __future__ import annotations

import math

import torch

from gristmill.kernels.ops import AttentionSpec

from ..config import DecoderConfig, Metadata, read_decoder_config
from ..layers import Attention, Decoder, GatedMlp, RmsNorm, Rope, Step
from ..weights import Weights

ARCHITECTURES = ("gemma2",)
_LAYERS_27B = 46  # the one size that scales attention by the width instead of the head


class Block:
    """Attention and a feed-forward layer, each between two norms. Gemma 3 shares it."""

    def __init__(
        self,
        weights: Weights,
        config: DecoderConfig,
        layer: int,
        rope: Rope,
        spec: AttentionSpec,
        *,
        qk_norm: bool = False,
    ):
        self.ops = weights.ops

        def norm(name: str) -> RmsNorm:
            return RmsNorm(weights, f"blk.{layer}.{name}", config.hidden_size, config.norm_eps)

        self.attention_norm, self.post_attention_norm = norm("attn_norm"), norm("post_attention_norm")
        self.attention = Attention(weights, config, layer, rope=rope, spec=spec, qk_norm=qk_norm)
        self.mlp_norm, self.post_mlp_norm = norm("ffn_norm"), norm("post_ffw_norm")
        self.mlp = GatedMlp(weights, config, layer, "gelu")

    def __call__(self, x: torch.Tensor, step: Step) -> torch.Tensor:
        x = self.ops.add(x, self.post_attention_norm(self.attention(self.attention_norm(x), step)))
        return self.ops.add(x, self.post_mlp_norm(self.mlp(self.mlp_norm(x))))


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, interleaved_rope=False)
    window = meta.count("attention.sliding_window", 4096)
    windowed = meta.flags("attention.sliding_window_pattern", config.n_layers)
    scale = attention_scale(config, _LAYERS_27B)
    softcap = meta.number("attn_logit_softcapping", 50.0)
    rope = Rope(weights.ops, config.rope)
    blocks = []
    for layer in range(config.n_layers):
        has_window = windowed[layer] if windowed else layer % 2 == 0
        spec = AttentionSpec(scale, window if has_window else 0, softcap)
        blocks.append(Block(weights, config, layer, rope, spec))
    final_softcap = meta.number("final_logit_softcapping", 30.0)
    return Decoder(
        weights,
        config,
        blocks,
        embedding_scale=math.sqrt(config.hidden_size),
        final_softcap=final_softcap,
    )


def attention_scale(config: DecoderConfig, layers_27b: int) -> float:
    """1 / sqrt(head_dim), but 1 / sqrt(hidden / n_heads) in the 27B model, which only its depth tells apart."""
    if config.n_layers == layers_27b:
        return 1.0 / math.sqrt(config.hidden_size / config.n_heads)
    return config.attention_scale
