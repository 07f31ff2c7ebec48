"""Short causal convolutions, each channel for itself, over the last few tokens."""

from __future__ import annotations

import torch

from gristmill.kernels.layout import TokenLayout

from ..weights import Weights


class ShortConv:
    """``name``.weight (channels, width), in some files (channels, 1, width), optional ``name``.bias (channels,); then
    ``activation``: ``silu`` or "".

    ``state_shape``: of what a sequence keeps, its last width - 1 inputs.
    """

    def __init__(
        self, weights: Weights, name: str, channels: int, width: int, *, activation: str = "", biased: bool = True
    ):
        self.ops, self.activation = weights.ops, activation
        middle = (1,) * (len(weights.shape(f"{name}.weight")) == 3)
        weight = weights.vector(f"{name}.weight", channels, *middle, width)
        self.weight = weight.reshape(channels, width).T.contiguous()
        self.bias = weights.optional_vector(f"{name}.bias", channels) if biased else None
        self.state_shape = (width - 1, channels)

    def __call__(self, x: torch.Tensor, state: torch.Tensor, layout: TokenLayout) -> torch.Tensor:
        """x (n, channels) -> (n, channels); ``state`` (n_states, *state_shape) is read and written."""
        return self.ops.short_conv(x, self.weight, self.bias, state, layout, self.activation)
