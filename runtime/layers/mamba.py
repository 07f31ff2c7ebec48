"""Mamba: a state space whose steps, inputs and outputs depend on the token (Gu and Dao, arXiv:2312.00752)."""

from __future__ import annotations

import torch

from gristmill.kernels.specs import Norm, StateSpace

from ..config import DecoderConfig
from ..kept import Kept
from ..ssm_config import MambaConfig
from ..weights import Weights
from .decoder import Step
from .linear import Linear
from .short_conv import ShortConv


class Mamba:
    """Of the tensors ``ssm_*``; ``ssm_a`` (inner_size, state_size) holds the negative decay rates themselves.

    Files may have norms of the time steps, of B and of C: ``ssm_dt_norm``, ``ssm_b_norm``, ``ssm_c_norm`` (Jamba,
    arXiv:2403.19887).
    """

    def __init__(self, weights: Weights, config: DecoderConfig, layer: int, ssm: MambaConfig):
        self.ops, self.layer = weights.ops, layer
        prefix, hidden, inner = f"blk.{layer}.ssm_", config.hidden_size, ssm.inner_size
        self.input = Linear(weights, f"{prefix}in", 2 * inner, hidden)
        self.conv = ShortConv(weights, f"{prefix}conv1d", inner, ssm.conv_width, activation="silu")
        self.sizes = [ssm.rank, ssm.state_size, ssm.state_size]
        self.selection = Linear(weights, f"{prefix}x", sum(self.sizes), inner)
        self.norms = _read_norms(weights, prefix, self.sizes, config.norm_eps, plain=ssm.plain_norms)
        self.dt = Linear(weights, f"{prefix}dt", inner, ssm.rank)
        decay = weights.vector(f"{prefix}a", inner, ssm.state_size).T.contiguous()
        self.space = StateSpace(decay, weights.vector(f"{prefix}d", inner))
        self.output = Linear(weights, f"{prefix}out", hidden, inner)
        self.kept = Kept(states=(self.conv.state_shape, (ssm.state_size, inner)))

    def __call__(
        self, x: torch.Tensor, step: Step, norm: Norm | None, residual: torch.Tensor | None = None
    ) -> torch.Tensor:
        """x (n, hidden), which goes through ``norm`` first, if any -> (n, hidden), plus ``residual``.

        Reads and writes the sequences' states.
        """
        conv_state, state = step.cache.states[self.layer]
        channels, gate = self.input(x, norm).chunk(2, dim=1)
        channels = self.conv(channels, conv_state, step.layout)
        dt, b, c = torch.split(self.selection(channels), self.sizes, dim=1)
        if self.norms:
            dt, b, c = (self.ops.rms_norm(v, norm) for v, norm in zip((dt, b, c), self.norms, strict=True))
        y = self.ops.selective_scan(channels, self.dt(dt), b, c, self.space, state, step.layout)
        return self.output(self.ops.gated(gate, y, "silu"), residual=residual)


def _read_norms(weights: Weights, prefix: str, sizes: list[int], eps: float, *, plain: bool) -> list[Norm]:
    """Of the time steps, B and C; none where the file has none."""
    if plain:
        return [Norm(torch.ones(size, device=weights.ops.device), eps) for size in sizes]
    names = [f"{prefix}{part}_norm.weight" for part in ("dt", "b", "c")]
    if not any(name in weights for name in names):
        return []
    return [Norm(weights.vector(name, size), eps) for name, size in zip(names, sizes, strict=True)]
