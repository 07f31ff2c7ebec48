"""Feed-forward layers: plain, gated (Shazeer, arXiv:2002.05202), and gated with experts (arXiv:2101.03961).

All are called with x (n, hidden), the norm that x goes through first, and what their output (n, hidden) is added to.
"""

from __future__ import annotations

import torch

from gristmill.kernels.specs import Norm

from ..config import DecoderConfig, MoeConfig
from ..weights import Weights
from .linear import ExpertLinear, Linear


class PlainMlp:
    """down(activation(up(x))); activation ``gelu_erf``, ``gelu`` or ``silu``."""

    def __init__(self, weights: Weights, config: DecoderConfig, layer: int, activation: str):
        self.ops, self.activation = weights.ops, activation
        self.up = Linear(weights, f"blk.{layer}.ffn_up", config.ffn_size, config.hidden_size, scaled=False)
        self.down = Linear(weights, f"blk.{layer}.ffn_down", config.hidden_size, config.ffn_size, scaled=False)

    def __call__(self, x: torch.Tensor, norm: Norm | None, residual: torch.Tensor | None = None) -> torch.Tensor:
        return self.down(self.ops.activate(self.up(x, norm), self.activation), residual=residual)


class GatedMlp:
    """down(activation(gate(x)) * up(x)); activation ``silu`` or ``gelu``.

    ``scaled``: the matrices' ``.scale`` tensors are used, where a file has them. llama.cpp, whose files these
    are, does so for some architectures only.
    """

    def __init__(self, weights: Weights, config: DecoderConfig, layer: int, activation: str, *, scaled: bool = False):
        self.ops, self.activation = weights.ops, activation
        prefix, hidden, ffn = f"blk.{layer}.", config.hidden_size, config.ffn_size
        options = {"scaled": scaled, "scale_sum": True}
        self.gate = Linear(weights, f"{prefix}ffn_gate", ffn, hidden, **options)
        self.up = Linear(weights, f"{prefix}ffn_up", ffn, hidden, **options)
        self.down = Linear(weights, f"{prefix}ffn_down", hidden, ffn, **options)

    def __call__(self, x: torch.Tensor, norm: Norm | None, residual: torch.Tensor | None = None) -> torch.Tensor:
        if self.gate.scale is None and self.up.scale is None:
            inner = self.ops.gated_linear(x, self.gate.projection, self.up.projection, self.activation, norm)
        else:
            inner = self.ops.gated(self.gate(x, norm), self.up(x, norm), self.activation)
        return self.down(inner, residual=residual)


class FusedGatedMlp:
    """As ``GatedMlp``, with gate and up stored as one matrix ``ffn_up``, the gate's rows first."""

    def __init__(self, weights: Weights, config: DecoderConfig, layer: int, activation: str):
        self.ops, self.activation = weights.ops, activation
        prefix, hidden, ffn = f"blk.{layer}.", config.hidden_size, config.ffn_size
        self.gate_up = Linear(weights, f"{prefix}ffn_up", 2 * ffn, hidden, scaled=False)
        self.down = Linear(weights, f"{prefix}ffn_down", hidden, ffn, scaled=False)

    def __call__(self, x: torch.Tensor, norm: Norm | None, residual: torch.Tensor | None = None) -> torch.Tensor:
        gate, up = self.gate_up(x, norm).chunk(2, dim=1)
        return self.down(self.ops.gated(gate, up, self.activation), residual=residual)


class MoeMlp:
    """``moe.n_used`` gated experts per token, chosen and weighed by a softmax over a linear router."""

    def __init__(self, weights: Weights, config: DecoderConfig, moe: MoeConfig, layer: int, activation: str):
        self.ops, self.moe, self.activation = weights.ops, moe, activation
        prefix, hidden, ffn, n = f"blk.{layer}.", config.hidden_size, config.ffn_size, moe.n_experts
        self.router = Linear(weights, f"{prefix}ffn_gate_inp", n, hidden)
        self.gate = ExpertLinear(weights, f"{prefix}ffn_gate_exps", n, ffn, hidden)
        self.up = ExpertLinear(weights, f"{prefix}ffn_up_exps", n, ffn, hidden)
        self.down = ExpertLinear(weights, f"{prefix}ffn_down_exps", n, hidden, ffn)

    def __call__(self, x: torch.Tensor, norm: Norm, residual: torch.Tensor | None = None) -> torch.Tensor:
        x = self.ops.rms_norm(x, norm)
        shares, experts = self.ops.route(self.router(x), self.moe.n_used, True)
        rows = x[:, None, :]
        inner = self.ops.gated(self.gate(rows, experts), self.up(rows, experts), self.activation)
        y = self.ops.combine(self.down(inner, experts), shares)
        return y if residual is None else self.ops.add(residual, y)
