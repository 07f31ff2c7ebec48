"""Small descriptions that operators take besides tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .dispatch import Weight


@dataclass(frozen=True, eq=False)
class AttentionSpec:
    """A query at p sees keys up to p; with a ``window``, those in (p - window, p]. ``softcap`` 0: none.

    Not ``causal``: it sees all keys of its sequence; with a window, those at most window // 2 away. With ``chunk``
    it sees its own chunk of so many tokens only. ``slopes`` (n_heads,) take off a score what the key's distance times
    its head's slope is (ALiBi, arXiv:2108.12409). ``sinks`` (n_heads,) are scores of a key that all see and that has
    no value (arXiv:2309.17453). With ``shared_values``, the values are the last so many elements of the keys, and
    the cache of values has none.
    """

    scale: float
    window: int = 0
    softcap: float = 0.0
    causal: bool = True
    chunk: int = 0
    slopes: torch.Tensor | None = None
    sinks: torch.Tensor | None = None
    shared_values: int = 0


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


@dataclass(frozen=True, eq=False)
class DeltaSpec:
    """A gated delta network's heads (arXiv:2412.06464). Value head h reads key head h % n_k_heads where ``tiled``, else
    h // (n_v_heads / n_k_heads).

    A token leaves exp(scale * softplus(decay + bias)) of the state: ``decay_scale`` (n_v_heads,), all below 0, and
    ``decay_bias`` (n_v_heads,), or (n_v_heads * key_dim,) where each element of a key has a decay (arXiv:2510.26692).
    Queries and keys are divided by sqrt(sum of squares + ``eps``).
    """

    decay_bias: torch.Tensor
    decay_scale: torch.Tensor
    eps: float
    tiled: bool = False


@dataclass(frozen=True)
class Routing:
    """How a router's logits become ``n_used`` experts and their weights.

    ``gating``: ``softmax`` or ``sigmoid`` of the logits; ``softmax-of-chosen``: over those of the chosen experts only.
    ``normalize``: the weights are divided by their sum; then they are multiplied by ``scale``. Of ``n_groups``
    equal groups of experts, only the ``n_groups_used`` with the highest sum of two experts are looked at
    (arXiv:2412.19437, section 2.1.2).
    """

    n_used: int
    gating: str = "softmax"
    normalize: bool = True
    scale: float = 1.0
    n_groups: int = 1
    n_groups_used: int = 1


@dataclass(frozen=True)
class Rotation:
    """cos, sin (n, dim / 2): the first dim elements of a head turn, in pairs (2i, 2i + 1) where ``interleaved``,
    else (i, i + dim / 2)."""

    cos: torch.Tensor
    sin: torch.Tensor
    interleaved: bool


@dataclass(frozen=True, eq=False)
class StateSpace:
    """What a selective state space has besides its inputs: state = state * exp(dt a) + dt x B, y = state C + d x.

    dt is softplus of what comes in plus ``dt_bias``. In ``ssd_scan`` all are (n_heads,); in ``selective_scan`` ``a`` is
    (d_state, channels), ``d`` (channels,), and there is no bias.
    """

    a: torch.Tensor
    d: torch.Tensor
    dt_bias: torch.Tensor | None = None
