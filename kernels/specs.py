"""Small descriptions that operators take besides tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .dispatch import Weight


@dataclass(frozen=True)
class AttentionSpec:
    """A query at p sees keys up to p; with a ``window``, those in (p - window, p]. ``softcap`` 0: none.

    Not ``causal``: it sees all keys of its sequence; with a window, those at most window // 2 away.
    """

    scale: float
    window: int = 0
    softcap: float = 0.0
    causal: bool = True


@dataclass(frozen=True)
class Norm:
    """An RMS norm that an operator applies to its input: x / sqrt(mean(x^2) + eps) * weight (d,)."""

    weight: torch.Tensor
    eps: float


@dataclass(frozen=True)
class LayerNorm:
    """(x - mean(x)) / sqrt(variance(x) + eps) * weight (d,) + bias (d,)  (Ba et al., arXiv:1607.06450)."""

    weight: torch.Tensor
    bias: torch.Tensor
    eps: float


@dataclass(frozen=True)
class Projection:
    """A weight (out, in) and what is added to its product, (out,) or None."""

    weight: Weight
    bias: torch.Tensor | None = None


@dataclass(frozen=True)
class Rotation:
    """cos, sin (n, dim / 2): the first dim elements of a head turn, in pairs (2i, 2i + 1) where ``interleaved``,
    else (i, i + dim / 2)."""

    cos: torch.Tensor
    sin: torch.Tensor
    interleaved: bool
