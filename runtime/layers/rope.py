"""The frequencies of rotary embedding under its scalings.

    none, linear   theta_i = base^(-2i / dim) / factor
    yarn           linear for slow frequencies, unscaled for fast ones, a ramp between (arXiv:2309.00071)
    longrope       theta_i / factors_i, a list for short and a list for long contexts (arXiv:2402.13753)

Files may also hold factors for each frequency (``rope_freqs``, Llama 3), which divide in the same way.
"""

from __future__ import annotations

import math

import torch

from gristmill.kernels.ops import Ops
from gristmill.kernels.specs import Rotation

from ..config import RopeConfig


class Rope:
    """``factors`` float32 (dim / 2,) divide the frequencies, or None."""

    def __init__(self, ops: Ops, config: RopeConfig, factors: torch.Tensor | None = None):
        self.ops = ops
        self.interleaved = config.interleaved
        self.magnitude = config.attention_factor
        exponents = torch.arange(0, config.dim, 2, dtype=torch.float64) / config.dim
        unscaled = config.base**-exponents
        if factors is not None:
            unscaled = unscaled / factors.to(torch.float64).cpu()
        self.inv_freq = unscaled / config.factor
        if config.scaling == "yarn" and config.extrapolation:
            ramp = _yarn_ramp(config) * config.extrapolation
            self.inv_freq = self.inv_freq * (1 - ramp) + unscaled * ramp
            self.magnitude *= 1.0 + 0.1 * math.log(config.factor)
        self.inv_freq = self.inv_freq.to(ops.device)

    def rotation(self, positions: torch.Tensor) -> Rotation:
        """For positions (n,), shared by all layers of a step."""
        return Rotation(*self.ops.rope_angles(positions, self.inv_freq, self.magnitude), self.interleaved)


def _yarn_ramp(config: RopeConfig) -> torch.Tensor:
    """1 for frequencies that turn often within the original context (kept), 0 for those that do not (scaled)."""

    def dimension(turns: float) -> float:
        context = config.original_context / (turns * 2 * math.pi)
        return config.dim * math.log(context) / (2 * math.log(config.base))

    low = max(0.0, math.floor(dimension(config.beta_fast)))
    high = min(config.dim - 1.0, math.ceil(dimension(config.beta_slow)))
    index = torch.arange(config.dim // 2, dtype=torch.float64)
    return 1.0 - ((index - low) / max(0.001, high - low)).clamp(0.0, 1.0)
