"""Kimi delta attention (arXiv:2510.26692): a gated delta network in which each element of a key has its own decay."""

from __future__ import annotations

import torch

from gristmill.kernels.specs import DeltaSpec, Norm

from ..config import DecoderConfig
from ..kept import Kept
from ..weights import Weights
from .decoder import Step
from .linear import Linear, apply_all
from .norm import RmsNorm
from .short_conv import ShortConv


class KimiDelta:
    """Heads of ``head_dim`` elements, keys and values alike, each through a short convolution of its own. Decays
    (``ssm_f_a``, ``ssm_f_b``) and gates (``ssm_g_a``, ``ssm_g_b``) are products with matrices of a low rank; results
    are normalised head by head and multiplied by the gates' sigmoid.
    """

    def __init__(self, weights: Weights, config: DecoderConfig, layer: int, *, head_dim: int, conv_width: int):
        n_heads = config.n_heads
        self.ops, self.layer, self.head_dim = weights.ops, layer, head_dim
        prefix, hidden, size = f"blk.{layer}.", config.hidden_size, n_heads * head_dim

        def linear(name: str, n_out: int, n_in: int) -> Linear:
            return Linear(weights, prefix + name, n_out, n_in, scaled=False, biased=False)

        self.mixed = [linear(f"attn_{x}", size, hidden) for x in "qkv"]
        self.inner = [linear("ssm_f_a", head_dim, hidden), linear("ssm_g_a", head_dim, hidden)]
        self.beta = linear("ssm_beta", n_heads, hidden)
        self.decay, self.gate = linear("ssm_f_b", size, head_dim), linear("ssm_g_b", size, head_dim)
        self.output = linear("attn_output", hidden, size)
        convs = (f"{prefix}ssm_conv1d_{x}" for x in "qkv")
        self.convs = [ShortConv(weights, name, size, conv_width, activation="silu", biased=False) for name in convs]
        scale = weights.vector(f"{prefix}ssm_a", n_heads, 1).flatten()
        self.spec = DeltaSpec(weights.vector(f"{prefix}ssm_dt.bias", size), scale, config.norm_eps)
        self.norm = RmsNorm(weights, f"{prefix}ssm_norm", head_dim, config.norm_eps)
        self.kept = Kept(states=(*(conv.state_shape for conv in self.convs), (n_heads, head_dim, head_dim)))

    def __call__(
        self, x: torch.Tensor, step: Step, norm: Norm | None, residual: torch.Tensor | None = None
    ) -> torch.Tensor:
        """x (n, hidden), which goes through ``norm`` first, if any -> (n, hidden), plus ``residual``.

        Moves this step's states on.
        """
        *mixed, beta = apply_all([*self.mixed, self.beta], x, norm)
        decay, gate = apply_all(self.inner, x, norm)
        *conv_states, state = step.cache.states[self.layer]
        parts = zip(mixed, self.convs, conv_states, strict=True)
        q, k, v = (conv(part, kept, step.layout).view(len(part), -1, self.head_dim) for part, conv, kept in parts)
        y = self.ops.delta_scan(q, k, v, self.decay(decay), beta, state, step.layout, self.spec)
        heads = self.norm(y.view(-1, self.head_dim)).view(len(y), -1)
        return self.output(self.ops.gated(self.gate(gate), heads, "sigmoid"), residual=residual)
