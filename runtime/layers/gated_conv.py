"""A short convolution between two gates, in place of attention (LFM2, arXiv:2511.23404)."""

from __future__ import annotations

import torch

from gristmill.kernels.specs import Norm

from ..config import DecoderConfig
from ..kept import Kept
from ..weights import Weights
from .decoder import Step
from .linear import Linear
from .short_conv import ShortConv


class GatedConv:
    """out(c * conv(b * x)), where ``shortconv.in_proj`` gives b, c and x, each as wide as the model."""

    def __init__(self, weights: Weights, config: DecoderConfig, layer: int, width: int):
        self.ops, self.layer = weights.ops, layer
        prefix, hidden = f"blk.{layer}.shortconv.", config.hidden_size
        self.input = Linear(weights, f"{prefix}in_proj", 3 * hidden, hidden)
        self.conv = ShortConv(weights, f"{prefix}conv", hidden, width)
        self.output = Linear(weights, f"{prefix}out_proj", hidden, hidden)
        self.kept = Kept(states=(self.conv.state_shape,))

    def __call__(
        self, x: torch.Tensor, step: Step, norm: Norm | None, residual: torch.Tensor | None = None
    ) -> torch.Tensor:
        """x (n, hidden), which goes through ``norm`` first, if any -> (n, hidden), plus ``residual``.

        Reads and writes the sequences' states.
        """
        b, c, x = self.input(x, norm).chunk(3, dim=1)
        (state,) = step.cache.states[self.layer]
        y = self.conv(self.ops.scale(x, b), state, step.layout)
        return self.output(self.ops.scale(y, c), residual=residual)
