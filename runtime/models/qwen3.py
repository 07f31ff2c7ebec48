"""Qwen 3 (arXiv:2505.09388): Llama's block with normalised heads and half-split rotary pairs."""

from __future__ import annotations

import torch

from gristmill.kernels.ops import AttentionSpec

from ..config import DecoderConfig, Metadata, read_decoder_config
from ..layers import Attention, Decoder, GatedMlp, RmsNorm, Rope, Step
from ..weights import Weights

ARCHITECTURES = ("qwen3",)


class Block:
    """Attention with q and k norms and a feed-forward layer, each on the normalised residual stream."""

    def __init__(self, weights: Weights, config: DecoderConfig, layer: int, rope: Rope):
        self.ops = weights.ops
        spec = AttentionSpec(config.attention_scale)
        self.attention_norm = RmsNorm(weights, f"blk.{layer}.attn_norm", config.hidden_size, config.norm_eps)
        self.attention = Attention(weights, config, layer, rope=rope, spec=spec, qk_norm=True)
        self.mlp_norm = RmsNorm(weights, f"blk.{layer}.ffn_norm", config.hidden_size, config.norm_eps)
        self.mlp = GatedMlp(weights, config, layer, "silu", scaled=True)

    def __call__(self, x: torch.Tensor, step: Step) -> torch.Tensor:
        x = self.ops.add(x, self.attention(self.attention_norm(x), step))
        return self.ops.add(x, self.mlp(self.mlp_norm(x)))


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, interleaved_rope=False)
    weights.ignore("cls.output.weight")  # the classifier of reranking models
    rope = Rope(weights.ops, config.rope)
    blocks = [Block(weights, config, layer, rope) for layer in range(config.n_layers)]
    return Decoder(weights, config, blocks)
