"""The frequencies of rotary embedding under its scalings.

    none, linear   theta_i = base^(-2i / dim) / factor
    yarn           linear for slow frequencies, unscaled for fast ones, a ramp between (arXiv:2309.00071)
    longrope       theta_i / factors_i, a list for short and a list for long contexts (arXiv:2402.13753)

Files may also hold factors for each frequency (``rope_freqs``, Llama 3), which divide in the same way.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from gristmill.kernels.ops import Ops
from gristmill.kernels.specs import Rotation

from ..config import DecoderConfig, Metadata, RopeConfig
from ..weights import Weights


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


def read_rope(weights: Weights, config: DecoderConfig) -> Rope:
    """With the factors of the tensor ``rope_freqs``, if the file has one."""
    return Rope(weights.ops, config.rope, weights.optional_vector("rope_freqs.weight", config.rope.dim // 2))


def longrope_factors(config: DecoderConfig, weights: Weights, n_ctx: int) -> torch.Tensor | None:
    """Of LongRoPE. The list is chosen by the context the model runs with, once: a cache holds keys of one kind only."""
    half = config.rope.dim // 2
    short = weights.optional_vector("rope_factors_short.weight", half)
    long = weights.optional_vector("rope_factors_long.weight", half)
    original = config.rope.original_context or config.context_length
    return long if n_ctx > original else short


def alibi_slopes(n_heads: int, max_bias: float, device: torch.device) -> torch.Tensor:
    """float32 (n_heads,): powers of 2^(-max_bias / n) for the n heads up to the last power of two, and for the rest
    the odd ones of what would be twice as many heads (Press et al., arXiv:2108.12409)."""
    n = 1 << int(math.log2(n_heads))
    slopes = [2.0 ** (-max_bias * (i + 1) / n) for i in range(n)]
    slopes += [2.0 ** (-max_bias * (2 * i + 1) / (2 * n)) for i in range(n_heads - n)]
    return torch.tensor(slopes, device=device)


def yarn_magnitude(rope: RopeConfig, m: float, a: float = 1.0) -> RopeConfig:
    """YaRN multiplies what turns by t(1), t(m) = 1 + m / 10 * ln(factor). With this it is by t(a) / t(m)."""
    log = 0.1 * math.log(rope.factor)
    magnitude = rope.attention_factor * (1 + a * log) / ((1 + m * log) * (1 + log))
    return replace(rope, attention_factor=magnitude)


def read_temperatures(meta: Metadata, n_ctx: int, length: float) -> torch.Tensor | None:
    """Mistral's ``temperatures``, which change every ``length`` positions; None where a file has none."""
    scale = meta.number("attention.temperature_scale", 0.0)
    if not scale:
        return None
    if not length:
        raise meta.refuse("attention.temperature_scale", "needs rope.scaling.original_context_length")
    return temperatures(n_ctx, length, scale, first=0)


def temperatures(n_ctx: int, floor: float, scale: float, *, first: int = 1) -> torch.Tensor:
    """float32 (n_ctx, 1), what queries are multiplied by: 1 + scale * ln(1 + floor((position + first) / floor))
    (Nakanishi, arXiv:2501.19399, as Llama 4 has it; Mistral counts positions from 0)."""
    positions = torch.arange(first, n_ctx + first, dtype=torch.float64)
    return (1 + scale * torch.log1p((positions / floor).floor())).to(torch.float32)[:, None]


class NoRope(Rope):
    """Queries and keys stay as they are: position shows by other means, or not at all (arXiv:2305.19466)."""

    def __init__(self, ops: Ops):
        self.ops, self.interleaved, self.magnitude = ops, False, 1.0
        self.inv_freq = torch.zeros(0, dtype=torch.float64, device=ops.device)

    def rotation(self, positions: torch.Tensor) -> Rotation:
        """Of no element."""
        none = torch.zeros(positions.shape[0], 0, device=positions.device)
        return Rotation(none, none, self.interleaved)


def _yarn_ramp(config: RopeConfig) -> torch.Tensor:
    """1 for frequencies that turn often within the original context (kept), 0 for those that do not (scaled)."""

    def dimension(turns: float) -> float:
        context = config.original_context / (turns * 2 * math.pi)
        return config.dim * math.log(context) / (2 * math.log(config.base))

    low, high = dimension(config.beta_fast), dimension(config.beta_slow)
    if config.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(0.0, low), min(config.dim - 1.0, high)
    index = torch.arange(config.dim // 2, dtype=torch.float64)
    return 1.0 - ((index - low) / max(0.001, high - low)).clamp(0.0, 1.0)
