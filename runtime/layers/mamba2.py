"""Mamba 2: state spaces in heads, each with one decay for all of its state (Dao and Gu, arXiv:2405.21060)."""

from __future__ import annotations

import torch

from gristmill.kernels.ops import Ops
from gristmill.kernels.specs import Norm, StateSpace

from ..config import DecoderConfig
from ..kept import Kept
from ..ssm_config import Mamba2Config
from ..weights import Weights
from .decoder import Step
from .linear import Linear
from .short_conv import ShortConv


class Mamba2:
    """Of the tensors ``ssm_*``; ``ssm_a`` (n_heads, 1) holds the negative decay rates themselves.

    What comes out of the states is gated, then normalised by groups of heads, where the file has ``ssm_norm``
    (required by most architectures: ``normed``).
    """

    def __init__(self, weights: Weights, config: DecoderConfig, layer: int, ssm: Mamba2Config, *, normed: bool = True):
        self.ops, self.layer = weights.ops, layer
        prefix, hidden, inner = f"blk.{layer}.ssm_", config.hidden_size, ssm.inner_size
        self.sizes = [inner, ssm.conv_size, ssm.n_heads]
        self.input = Linear(weights, f"{prefix}in", sum(self.sizes), hidden)
        self.conv = ShortConv(weights, f"{prefix}conv1d", ssm.conv_size, ssm.conv_width, activation="silu")
        self.conv_sizes = [inner, ssm.n_groups * ssm.state_size, ssm.n_groups * ssm.state_size]
        decay, skip = (weights.vector(f"{prefix}{x}", ssm.n_heads, 1).flatten() for x in "ad")
        self.space = StateSpace(decay, skip, weights.vector(f"{prefix}dt.bias", ssm.n_heads))
        self.output = Linear(weights, f"{prefix}out", hidden, inner)
        self.norm: Norm | None = None  # of one group
        self.group_norm: _GroupNorm | None = None
        name = f"{prefix}norm.weight"
        if normed or name in weights:
            self._read_norm(weights, name, ssm, config.norm_eps)
        self.kept = Kept(states=(self.conv.state_shape, (ssm.n_heads, ssm.state_size, ssm.head_dim)))

    def __call__(
        self, x: torch.Tensor, step: Step, norm: Norm | None, residual: torch.Tensor | None = None
    ) -> torch.Tensor:
        """x (n, hidden), which goes through ``norm`` first, if any -> (n, hidden), plus ``residual``.

        Reads and writes the sequences' states.
        """
        conv_state, state = step.cache.states[self.layer]
        gate, channels, dt = torch.split(self.input(x, norm), self.sizes, dim=1)
        channels, b, c = torch.split(self.conv(channels, conv_state, step.layout), self.conv_sizes, dim=1)
        y = self.ops.ssd_scan(channels, dt, b, c, self.space, state, step.layout)
        y = self.ops.gated(gate, y, "silu")
        return self.output(self.group_norm(y) if self.group_norm else y, self.norm, residual)

    def _read_norm(self, weights: Weights, name: str, ssm: Mamba2Config, eps: float) -> None:
        """Weights (n_groups, inner_size / n_groups); some writers leave out the dimension of one group."""
        shape = ssm.n_groups, ssm.inner_size // ssm.n_groups
        flat = ssm.n_groups == 1 and weights.shape(name) == shape[1:]
        weight = weights.vector(name, *shape[flat:]).reshape(shape)
        if ssm.n_groups == 1:
            self.norm = Norm(weight[0], eps)
        else:
            self.group_norm = _GroupNorm(weights.ops, weight, eps)


class _GroupNorm:
    """Weights (n_groups, width). An operator has one weight for all rows, so they are applied behind it."""

    def __init__(self, ops: Ops, weight: torch.Tensor, eps: float):
        self.ops, self.scales = ops, weight.flatten()
        self.norm = Norm(torch.ones_like(weight[0]), eps)

    def __call__(self, y: torch.Tensor) -> torch.Tensor:
        """y (n, n_groups * width) -> the same shape."""
        groups = self.ops.rms_norm(y.reshape(-1, len(self.norm.weight)), self.norm)
        return self.ops.scale(groups.reshape(y.shape), self.scales)
