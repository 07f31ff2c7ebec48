"""Root mean square normalisation (Zhang and Sennrich, arXiv:1910.07467)."""

from __future__ import annotations

import torch

from gristmill.kernels.specs import Norm

from ..weights import Weights


class RmsNorm:
    """``name``.weight (dim,), over the last dimension of the input."""

    def __init__(self, weights: Weights, name: str, dim: int, eps: float):
        self.ops = weights.ops
        self.norm = Norm(weights.vector(f"{name}.weight", dim), eps)

    def __call__(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        """x (n, dim), normalised, plus ``residual``. Operators that take ``self.norm`` do this on their way."""
        return self.ops.rms_norm(x, self.norm, residual)
