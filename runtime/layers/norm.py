"""Root mean square normalisation (Zhang and Sennrich, arXiv:1910.07467), and layer normalisation (arXiv:1607.06450)."""

from __future__ import annotations

import torch

from gristmill.kernels import specs

from ..config import DecoderConfig
from ..weights import Weights

Lead = tuple[torch.Tensor, specs.Norm | None]


class RmsNorm:
    """``name``.weight (dim,), in some files only ``name``, over the last dimension of the input."""

    def __init__(self, weights: Weights, name: str, dim: int, eps: float):
        self.ops = weights.ops
        self.norm = specs.Norm(weights.vector(name if name in weights else f"{name}.weight", dim), eps)

    def __call__(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        """x (n, dim), normalised, plus ``residual``."""
        return self.ops.rms_norm(x, self.norm, residual)

    def lead(self, x: torch.Tensor) -> Lead:
        """What a layer that reads norm(x) is given: x, and the norm that its first operator applies on the way."""
        return x, self.norm


class BiasedRmsNorm:
    """``RmsNorm`` plus ``name``.bias (dim,)."""

    def __init__(self, weights: Weights, name: str, dim: int, eps: float):
        self.ops, self.rms = weights.ops, RmsNorm(weights, name, dim, eps)
        self.bias = weights.vector(f"{name}.bias", dim)

    def __call__(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        """x (n, dim), normalised, plus ``residual``."""
        return self.ops.add(self.rms(x, residual), self.bias)

    def lead(self, x: torch.Tensor) -> Lead:
        """As ``RmsNorm.lead``: x is normalised already."""
        return self(x), None


class LayerNorm:
    """``name``.weight and ``name``.bias (dim,), over the last dimension of the input.

    The bias may be missing; with ``plain`` there are no tensors at all.
    """

    def __init__(self, weights: Weights, name: str, dim: int, eps: float, *, plain: bool = False):
        self.ops = weights.ops
        bias = None if plain else weights.optional_vector(f"{name}.bias", dim)
        zeros = torch.zeros(dim, device=self.ops.device)
        weight = zeros + 1 if plain else weights.vector(f"{name}.weight", dim)
        self.norm = specs.LayerNorm(weight, zeros if bias is None else bias, eps)

    def __call__(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        """x (n, dim), normalised, plus ``residual``."""
        y = self.ops.layer_norm(x, self.norm)
        return y if residual is None else self.ops.add(residual, y)

    def lead(self, x: torch.Tensor) -> Lead:
        """As ``RmsNorm.lead``: x is normalised already."""
        return self(x), None


AnyNorm = RmsNorm | BiasedRmsNorm | LayerNorm


def stream_norm(weights: Weights, name: str, config: DecoderConfig) -> AnyNorm:
    """Of the residual stream, of the kind the model has."""
    dim, eps = config.hidden_size, config.norm_eps
    if config.norm == "rms":
        return RmsNorm(weights, name, dim, eps)
    if config.norm == "rms-bias":
        return BiasedRmsNorm(weights, name, dim, eps)
    return LayerNorm(weights, name, dim, eps, plain=config.norm == "plain")
