"""Root mean square normalisation (Zhang and Sennrich, arXiv:1910.07467), and layer normalisation (arXiv:1607.06450)."""

from __future__ import annotations

import torch

from gristmill.kernels import specs

from ..weights import Weights


class RmsNorm:
    """``name``.weight (dim,), over the last dimension of the input."""

    def __init__(self, weights: Weights, name: str, dim: int, eps: float):
        self.ops = weights.ops
        self.norm = specs.Norm(weights.vector(f"{name}.weight", dim), eps)

    def __call__(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        """x (n, dim), normalised, plus ``residual``. Operators that take ``self.norm`` do this on their way."""
        return self.ops.rms_norm(x, self.norm, residual)


class LayerNorm:
    """``name``.weight and ``name``.bias (dim,), over the last dimension of the input."""

    def __init__(self, weights: Weights, name: str, dim: int, eps: float):
        self.ops = weights.ops
        self.norm = specs.LayerNorm(weights.vector(f"{name}.weight", dim), weights.vector(f"{name}.bias", dim), eps)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """x (n, dim), normalised."""
        return self.ops.layer_norm(x, self.norm)
