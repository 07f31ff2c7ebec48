"""Feed-forward layers: plain and gated (Shazeer, arXiv:2002.05202). Those with experts are in ``moe.py``.

All are called with x (n, hidden), the norm that x goes through first, and what their output (n, hidden) is added to.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from gristmill.kernels.ops import Ops
from gristmill.kernels.specs import Norm

from ..config import DecoderConfig
from ..weights import Weights
from .linear import Linear, apply_all

FUSED = ("silu", "gelu")  # activations that one operator with both products has


class PlainMlp:
    """down(activation(up(x))); for the activations see ``Ops.activate``. ``scaled`` as in ``GatedMlp``.

    What is between the two is divided by ``ffn.act.scales`` (n,), where a file has them (AWQ, arXiv:2306.00978).
    """

    def __init__(self, weights: Weights, config: DecoderConfig, layer: int, activation: str, *, scaled: bool = False):
        self.ops, self.activation = weights.ops, activation
        hidden, ffn = config.hidden_size, config.ffn_size
        self.up = Linear(weights, f"blk.{layer}.ffn_up", ffn, hidden, scaled=scaled, scale_sum=True)
        self.down = Linear(weights, f"blk.{layer}.ffn_down", hidden, ffn, scaled=scaled, scale_sum=True)
        divisors = weights.optional_vector(f"blk.{layer}.ffn.act.scales", ffn)
        self.factors = None if divisors is None else 1.0 / divisors

    def __call__(self, x: torch.Tensor, norm: Norm | None, residual: torch.Tensor | None = None) -> torch.Tensor:
        inner = self.ops.activate(self.up(x, norm), self.activation)
        if self.factors is not None:
            inner = self.ops.scale(inner, self.factors)
        return self.down(inner, residual=residual)


class GatedMlp:
    """down(activation(gate(x)) * up(x)); activation ``silu`` or ``gelu``.

    ``scaled``: the matrices' ``.scale`` tensors are used, where a file has them. llama.cpp, whose files these
    are, does so for some architectures only, as with biases (``biased``). ``suffix``: of the tensors' names;
    ``ffn_size``: other than the model's.
    """

    def __init__(
        self,
        weights: Weights,
        config: DecoderConfig,
        layer: int,
        activation: str,
        *,
        scaled: bool = False,
        biased: bool = True,
        suffix: str = "",
        ffn_size: int = 0,
    ):
        self.ops, self.activation = weights.ops, activation
        prefix, hidden, ffn = f"blk.{layer}.", config.hidden_size, ffn_size or config.ffn_size
        linear = partial(Linear, weights, scaled=scaled, scale_sum=True, biased=biased)
        self.gate = linear(f"{prefix}ffn_gate{suffix}", ffn, hidden)
        self.up = linear(f"{prefix}ffn_up{suffix}", ffn, hidden)
        self.down = linear(f"{prefix}ffn_down{suffix}", hidden, ffn)

    def __call__(self, x: torch.Tensor, norm: Norm | None, residual: torch.Tensor | None = None) -> torch.Tensor:
        if self._is_fused():
            inner = self.ops.gated_linear(x, self.gate.projection, self.up.projection, self.activation, norm)
        else:
            gate, up = apply_all((self.gate, self.up), x, norm)
            inner = self.ops.gated(gate, up, self.activation)
        return self.down(inner, residual=residual)

    def _is_fused(self) -> bool:
        """Adapters add to the products before the activation, so they come between the operators."""
        plain = all(linear.scale is None and not linear.additions.active for linear in (self.gate, self.up))
        return plain and self.activation in FUSED


class Sum:
    """(first(x) + second(x)) * factor."""

    def __init__(self, ops: Ops, first: Any, second: Any, factor: float):
        self.ops, self.first, self.second, self.factor = ops, first, second, factor

    def __call__(self, x: torch.Tensor, norm: Norm | None, residual: torch.Tensor | None = None) -> torch.Tensor:
        y = self.ops.scale(self.ops.add(self.first(x, norm), self.second(x, norm)), self.factor)
        return y if residual is None else self.ops.add(residual, y)


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
