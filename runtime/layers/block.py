"""How attention and feed-forward layers meet the residual stream. What they are is the architecture's choice."""

from __future__ import annotations

from collections.abc import Callable

import torch

from gristmill.kernels.specs import Norm

from ..config import DecoderConfig
from ..weights import Weights
from .attention import Attention
from .decoder import Step
from .norm import LayerNorm, RmsNorm

Mlp = Callable[[torch.Tensor, Norm, torch.Tensor | None], torch.Tensor]
BareMlp = Callable[[torch.Tensor, None, torch.Tensor | None], torch.Tensor]


class PreNormBlock:
    """Each layer works on the normalised stream and adds to it: x + layer(norm(x))."""

    def __init__(self, weights: Weights, config: DecoderConfig, layer: int, attention: Attention, mlp: Mlp):
        self.attention, self.mlp = attention, mlp
        self.attention_norm = RmsNorm(weights, f"blk.{layer}.attn_norm", config.hidden_size, config.norm_eps)
        self.mlp_norm = RmsNorm(weights, f"blk.{layer}.ffn_norm", config.hidden_size, config.norm_eps)

    def __call__(self, x: torch.Tensor, step: Step) -> torch.Tensor:
        x = self.attention(x, step, self.attention_norm.norm, residual=x)
        return self.mlp(x, self.mlp_norm.norm, x)


class SandwichBlock(PreNormBlock):
    """What a layer adds is normalised as well: x + norm(layer(norm(x)))."""

    def __init__(self, weights: Weights, config: DecoderConfig, layer: int, attention: Attention, mlp: Mlp):
        super().__init__(weights, config, layer, attention, mlp)
        names = (f"blk.{layer}.post_attention_norm", f"blk.{layer}.post_ffw_norm")
        norms = [RmsNorm(weights, name, config.hidden_size, config.norm_eps) for name in names]
        self.post_attention_norm, self.post_mlp_norm = norms

    def __call__(self, x: torch.Tensor, step: Step) -> torch.Tensor:
        x = self.post_attention_norm(self.attention(x, step, self.attention_norm.norm), residual=x)
        return self.post_mlp_norm(self.mlp(x, self.mlp_norm.norm, None), residual=x)


class PostNormBlock:
    """The stream is normalised after each addition: norm(x + layer(x)), as in the first transformers."""

    def __init__(self, weights: Weights, config: DecoderConfig, layer: int, attention: Attention, mlp: BareMlp):
        self.attention, self.mlp = attention, mlp
        self.attention_norm = LayerNorm(weights, f"blk.{layer}.attn_output_norm", config.hidden_size, config.norm_eps)
        self.mlp_norm = LayerNorm(weights, f"blk.{layer}.layer_output_norm", config.hidden_size, config.norm_eps)

    def __call__(self, x: torch.Tensor, step: Step) -> torch.Tensor:
        x = self.attention_norm(self.attention(x, step, None, residual=x))
        return self.mlp_norm(self.mlp(x, None, x))
