"""Phi 3 and 3.5 (arXiv:2404.14219): fused projections, and LongRoPE factors for short and for long contexts."""

from __future__ import annotations

import math

import torch

from gristmill.kernels.ops import AttentionSpec

from ..config import DecoderConfig, Metadata, read_decoder_config
from ..layers import Attention, Decoder, FusedGatedMlp, RmsNorm, Rope, Step
from ..weights import Weights

ARCHITECTURES = ("phi3",)


class Block:
    """Attention and a feed-forward layer, each on the normalised residual stream."""

    def __init__(self, weights: Weights, config: DecoderConfig, layer: int, rope: Rope, spec: AttentionSpec):
        self.ops = weights.ops
        self.attention_norm = RmsNorm(weights, f"blk.{layer}.attn_norm", config.hidden_size, config.norm_eps)
        self.attention = Attention(weights, config, layer, rope=rope, spec=spec)
        self.mlp_norm = RmsNorm(weights, f"blk.{layer}.ffn_norm", config.hidden_size, config.norm_eps)
        self.mlp = FusedGatedMlp(weights, config, layer, "silu")

    def __call__(self, x: torch.Tensor, step: Step) -> torch.Tensor:
        x = self.ops.add(x, self.attention(self.attention_norm(x), step))
        return self.ops.add(x, self.mlp(self.mlp_norm(x)))


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, interleaved_rope=False)
    rope = Rope(weights.ops, config.rope, _longrope_factors(config, weights, n_ctx))
    # Windows of files in the wild (2047 of Phi-3-mini-4k) are not applied: converters wrote them without need,
    # and peers ignore them for this architecture.
    spec = AttentionSpec(1.0 / math.sqrt(config.key_dim))
    blocks = [Block(weights, config, layer, rope, spec) for layer in range(config.n_layers)]
    return Decoder(weights, config, blocks)


def _longrope_factors(config: DecoderConfig, weights: Weights, n_ctx: int) -> torch.Tensor | None:
    """The list is chosen by the context the model runs with, once: a cache holds keys of one kind only."""
    half = config.rope.dim // 2
    short = weights.optional_vector("rope_factors_short.weight", half)
    long = weights.optional_vector("rope_factors_long.weight", half)
    original = config.rope.original_context or config.context_length
    return long if n_ctx > original else short
