"""Llama (arXiv:2302.13971) and what shares its shape: Mistral, Ministral, SmolLM, and with experts Mixtral."""

from __future__ import annotations

import torch

from gristmill.kernels.ops import AttentionSpec

from ..config import DecoderConfig, Metadata, read_decoder_config
from ..layers import Attention, Decoder, GatedMlp, MoeMlp, RmsNorm, Rope, Step
from ..weights import Weights

ARCHITECTURES = ("llama", "mistral3")


class Block:
    """Attention and a feed-forward layer, each on the normalised residual stream."""

    def __init__(self, weights: Weights, config: DecoderConfig, layer: int, rope: Rope, *, scaled_mlp: bool = True):
        self.ops = weights.ops
        spec = AttentionSpec(config.attention_scale)
        self.attention_norm = RmsNorm(weights, f"blk.{layer}.attn_norm", config.hidden_size, config.norm_eps)
        self.attention = Attention(weights, config, layer, rope=rope, spec=spec)
        self.mlp_norm = RmsNorm(weights, f"blk.{layer}.ffn_norm", config.hidden_size, config.norm_eps)
        self.mlp: GatedMlp | MoeMlp
        if config.moe is None:
            self.mlp = GatedMlp(weights, config, layer, "silu", scaled=scaled_mlp)
        else:
            self.mlp = MoeMlp(weights, config, config.moe, layer, "silu")

    def __call__(self, x: torch.Tensor, step: Step) -> torch.Tensor:
        x = self.ops.add(x, self.attention(self.attention_norm(x), step))
        return self.ops.add(x, self.mlp(self.mlp_norm(x)))


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, interleaved_rope=True)
    factors = weights.optional_vector("rope_freqs.weight", config.rope.dim // 2)
    rope = Rope(weights.ops, config.rope, factors)
    blocks = [Block(weights, config, layer, rope) for layer in range(config.n_layers)]
    return Decoder(weights, config, blocks)
