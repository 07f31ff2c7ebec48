"""Mamba 2: state spaces in heads, each with one decay for all of its state (Dao and Gu, arXiv:2405.21060)."""

from __future__ import annotations

import torch

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
        name = f"{prefix}norm.weight"
        self.norm = _Norm(weights, name, ssm, config.norm_eps) if normed or name in weights else None
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
        return self.output(y if self.norm is None else self.norm(y), residual=residual)


class _Norm:
    """By groups: weights (n_groups, inner_size / n_groups); some writers leave out the dimension of one group."""

    def __init__(self, weights: Weights, name: str, ssm: Mamba2Config, eps: float):
        self.ops, shape = weights.ops, (ssm.n_groups, ssm.inner_size // ssm.n_groups)
        flat = ssm.n_groups == 1 and weights.shape(name) == shape[1:]
        weight = weights.vector(name, *shape[flat:]).reshape(shape)
        # The operator has one weight for all rows, so those of several groups are applied behind it.
        self.norm = Norm(weight[0] if ssm.n_groups == 1 else torch.ones_like(weight[0]), eps)
        self.scales = None if ssm.n_groups == 1 else weight.flatten()

    def __call__(self, y: torch.Tensor) -> torch.Tensor:
        """y (n, inner_size) -> (n, inner_size)."""
        normed = self.ops.rms_norm(y.reshape(-1, len(self.norm.weight)), self.norm).reshape(y.shape)
        return normed if self.scales is None else self.ops.scale(normed, self.scales)
