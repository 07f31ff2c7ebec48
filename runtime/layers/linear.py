"""A matrix product with what may stand beside the matrix: a scale and a bias."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gristmill.kernels.specs import Norm, Projection

from ..lora import add_all
from ..weights import Weights


class Linear:
    """``name``.weight (out, in), optional ``name``.scale (1,) and ``name``.bias (out,).

    The scale belongs to the matrix (y = scale * Wx + bias), in feed-forward layers to the sum
    (``scale_sum``: y = scale * (Wx + bias)), as llama.cpp computes them. Without ``scaled`` or ``biased``, what a
    file has of them is not used. Adapters add to the product as it is with all of them, where it is ``adapted``. Of
    an output head (``of_outputs``) the rows are those whose logits are wanted. ``rows``: the order in which the
    matrix's are wanted, which suits neither a bias nor adapters.
    """

    def __init__(
        self,
        weights: Weights,
        name: str,
        n_out: int,
        n_in: int,
        *,
        scaled: bool = True,
        scale_sum: bool = False,
        biased: bool = True,
        adapted: bool = True,
        of_outputs: bool = False,
        rows: torch.Tensor | None = None,
    ):
        assert rows is None or not (biased or adapted)
        self.ops, self.scale_sum = weights.ops, scale_sum
        made = weights.adapters.additions if adapted else weights.adapters.none
        self.additions = made(f"{name}.weight", (n_out, n_in), of_outputs=of_outputs)
        self.weight = weights.matrix(f"{name}.weight", n_out, n_in, rows=rows)
        self.bias = weights.optional_vector(f"{name}.bias", n_out) if biased else None
        self.scale = weights.optional_vector(f"{name}.scale", 1) if scaled else None
        weights.ignore(f"{name}.scale", f"{name}.bias")

    @property
    def projection(self) -> Projection:
        """For operators that take several weights; only where there is no scale."""
        assert self.scale is None
        return Projection(self.weight, self.bias)

    def __call__(self, x: torch.Tensor, norm: Norm | None = None, residual: torch.Tensor | None = None) -> torch.Tensor:
        """x (n, in), which goes through ``norm`` first -> (n, out), plus ``residual`` (n, out)."""
        y = self._base(x, norm, residual)
        add_all([self.additions], [y], x, norm)
        return y

    def _base(self, x: torch.Tensor, norm: Norm | None, residual: torch.Tensor | None) -> torch.Tensor:
        if self.scale is None:
            return self.ops.linear(x, self.weight, bias=self.bias, norm=norm, residual=residual)
        bias_inside = self.bias if self.scale_sum else None
        y = self.ops.scale(self.ops.linear(x, self.weight, bias=bias_inside, norm=norm), self.scale)
        if self.bias is not None and not self.scale_sum:
            y = self.ops.add(y, self.bias)
        return y if residual is None else self.ops.add(residual, y)


def apply_all(linears: Sequence[Linear], x: torch.Tensor, norm: Norm | None = None) -> list[torch.Tensor]:
    """Each of ``linears`` on the same x, together where none has a scale."""
    if any(linear.scale is not None for linear in linears):
        return [linear(x, norm) for linear in linears]
    ys = linears[0].ops.linears(x, [linear.projection for linear in linears], norm)
    add_all([linear.additions for linear in linears], ys, x, norm)
    return ys


class ExpertLinear:
    """``name``.weight (n_experts, out, in), optional ``name``.scale (n_experts,), not used without ``scaled``, and
    ``name``.bias (n_experts, out)."""

    def __init__(self, weights: Weights, name: str, n_experts: int, n_out: int, n_in: int, *, scaled: bool = True):
        self.ops = weights.ops
        self.weight = weights.matrix(f"{name}.weight", n_experts, n_out, n_in)
        self.scale = weights.optional_vector(f"{name}.scale", n_experts) if scaled else None
        self.bias = weights.optional_vector(f"{name}.bias", n_experts, n_out)
        self.additions = weights.adapters.additions(f"{name}.weight", (n_experts, n_out, n_in))
        weights.ignore(f"{name}.scale")

    def __call__(self, x: torch.Tensor, experts: torch.Tensor) -> torch.Tensor:
        """x (n, k or 1, in), experts (n, k) -> (n, k, out)."""
        y = self.ops.expert_linear(x, self.weight, experts)
        if self.scale is not None:
            factors = self.ops.gather(self.scale[:, None], experts.reshape(-1))
            y = self.ops.scale(y, factors.reshape(*experts.shape, 1))
        if self.bias is not None:
            y = self.ops.add(y, self.ops.gather(self.bias, experts.reshape(-1)).reshape(y.shape))
        if self.additions.active:
            self.additions.add_experts(y, x, experts)
        return y
