"""Root mean square normalisation (Zhang and Sennrich, arXiv:1910.07467)."""

from __future__ import annotations

import torch

from ..weights import Weights


class RmsNorm:
    """``name``.weight (dim,), over the last dimension of the input."""

    def __init__(self, weights: Weights, name: str, dim: int, eps: float):
        self.ops = weights.ops
        self.weight = weights.vector(f"{name}.weight", dim)
        self.eps = eps

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.ops.rms_norm(x, self.weight, self.eps)
