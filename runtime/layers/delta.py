"""Gated delta networks (Yang et al., arXiv:2412.06464), as Qwen 3 Next and its successors have them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gristmill.kernels.specs import DeltaSpec, Norm

from ..config import DecoderConfig, Metadata
from ..kept import Kept
from ..ssm_config import read_conv_width
from ..weights import Weights
from .decoder import Step
from .linear import Linear, apply_all
from .norm import RmsNorm
from .short_conv import ShortConv


@dataclass(frozen=True)
class DeltaConfig:
    """Heads of ``head_dim`` elements, keys and values alike. The convolution is over ``conv_width`` tokens."""

    n_key_heads: int
    n_value_heads: int
    head_dim: int
    conv_width: int

    @property
    def key_size(self) -> int:
        return self.n_key_heads * self.head_dim

    @property
    def value_size(self) -> int:
        return self.n_value_heads * self.head_dim

    @property
    def conv_size(self) -> int:
        """Queries, keys and values."""
        return 2 * self.key_size + self.value_size


def read_delta_config(meta: Metadata) -> DeltaConfig:
    n_heads, n_key_heads = meta.count("ssm.time_step_rank"), meta.count("ssm.group_count")
    head_dim, inner = meta.count("ssm.state_size"), meta.count("ssm.inner_size")
    if n_heads % n_key_heads:
        raise meta.refuse("ssm.group_count", f"{n_key_heads} does not divide {n_heads} heads")
    if inner != n_heads * head_dim:
        raise meta.refuse("ssm.inner_size", f"expected {n_heads} heads of {head_dim} elements, got {inner}")
    return DeltaConfig(n_key_heads, n_heads, head_dim, read_conv_width(meta))


def read_recurrent_layers(meta: Metadata, n_layers: int) -> tuple[bool, ...]:
    """Which layers have a state instead of attention: ``attention.recurrent_layers`` says, or it is all but every
    ``full_attention_interval``-th."""
    given = meta.flags("attention.recurrent_layers", n_layers)
    every = meta.count("full_attention_interval", 4)
    return given or tuple((layer + 1) % every != 0 for layer in range(n_layers))


class GatedDeltaNet:
    """Queries, keys and values go through a short convolution, then through the delta rule (see ``Ops.delta_scan``);
    the result of each head is normalised and multiplied by the SiLU of a gate.

    ``tiled``: see ``DeltaSpec``. ``scaled``: the matrices' ``.scale`` tensors are used, where a file has them.
    """

    def __init__(
        self,
        weights: Weights,
        config: DecoderConfig,
        layer: int,
        sizes: DeltaConfig,
        *,
        tiled: bool = False,
        scaled: bool = False,
    ):
        self.ops, self.layer, self.sizes = weights.ops, layer, sizes
        prefix, hidden = f"blk.{layer}.", config.hidden_size
        self.inputs = _Inputs(weights, prefix, hidden, sizes, scaled=scaled)
        self.output = Linear(weights, f"{prefix}ssm_out", hidden, sizes.value_size, scaled=scaled, biased=False)
        self.conv = ShortConv(
            weights, f"{prefix}ssm_conv1d", sizes.conv_size, sizes.conv_width, activation="silu", biased=False
        )
        bias = weights.vector(f"{prefix}ssm_dt.bias", sizes.n_value_heads)
        self.spec = DeltaSpec(bias, weights.vector(f"{prefix}ssm_a", sizes.n_value_heads), config.norm_eps, tiled)
        self.norm = RmsNorm(weights, f"{prefix}ssm_norm", sizes.head_dim, config.norm_eps)
        state = (sizes.n_value_heads, sizes.head_dim, sizes.head_dim)
        self.kept = Kept(states=(self.conv.state_shape, state))

    def __call__(
        self, x: torch.Tensor, step: Step, norm: Norm | None, residual: torch.Tensor | None = None
    ) -> torch.Tensor:
        """x (n, hidden), which goes through ``norm`` first, if any -> (n, hidden), plus ``residual``.

        Moves this step's states on.
        """
        s = self.sizes
        mixed, gate, beta, decay = self.inputs(x, norm)
        conv_state, state = step.cache.states[self.layer]
        parts = torch.split(self.conv(mixed, conv_state, step.layout), [s.key_size, s.key_size, s.value_size], dim=1)
        q, k, v = (part.view(len(part), -1, s.head_dim) for part in parts)
        y = self.ops.delta_scan(q, k, v, decay, beta, state, step.layout, self.spec)
        heads = self.norm(y.view(-1, s.head_dim)).view(-1, s.value_size)
        return self.output(self.ops.gated(gate, heads, "silu"), residual=residual)


class _Inputs:
    """``attn_qkv`` and ``attn_gate``, or in older files both in one, ``ssm_in``; ``ssm_beta`` and ``ssm_alpha``, or
    both in one, ``ssm_ba``. Those that are two in one have, key head by key head, what belongs to it.
    """

    def __init__(self, weights: Weights, prefix: str, hidden: int, sizes: DeltaConfig, *, scaled: bool):
        self.ops, self.sizes = weights.ops, sizes
        if f"{prefix}attn_qkv.weight" not in weights and f"{prefix}ssm_in.weight" in weights:
            order, total = _by_kind(sizes), sizes.conv_size + sizes.value_size
            mixed = [
                Linear(
                    weights, f"{prefix}ssm_in", total, hidden, scaled=scaled, biased=False, adapted=False, rows=order
                )
            ]
        else:
            weights.ignore(f"{prefix}ssm_in.weight", f"{prefix}ssm_in.scale")
            names = {"attn_qkv": sizes.conv_size, "attn_gate": sizes.value_size}
            mixed = [Linear(weights, prefix + name, n, hidden, scaled=scaled) for name, n in names.items()]
        n_heads = sizes.n_value_heads
        is_fused = f"{prefix}ssm_ba.weight" in weights
        names = {"ssm_ba": 2 * n_heads} if is_fused else {"ssm_beta": n_heads, "ssm_alpha": n_heads}
        self.mixed = mixed
        self.heads = [Linear(weights, prefix + name, n, hidden, scaled=scaled) for name, n in names.items()]

    def __call__(
        self, x: torch.Tensor, norm: Norm | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Queries, keys and values (n, conv_size), gates (n, value_size), and of each head beta and decay."""
        s, n_mixed = self.sizes, len(self.mixed)
        parts = apply_all([*self.mixed, *self.heads], x, norm)
        mixed, gate = parts[:2] if n_mixed == 2 else torch.split(parts[0], [s.conv_size, s.value_size], dim=1)
        beta, decay = parts[n_mixed:] if len(self.heads) == 2 else self._apart(parts[n_mixed])
        return mixed, gate, beta, decay

    def _apart(self, both: torch.Tensor) -> list[torch.Tensor]:
        """(n, n_key_heads * 2 * n) -> two of (n, n_value_heads), copied: an operator's rows lie together."""
        by_head = both.view(len(both), self.sizes.n_key_heads, 2, -1)
        return [self.ops.scale(by_head[:, :, i], 1.0).view(len(both), -1) for i in range(2)]


def _by_kind(sizes: DeltaConfig) -> torch.Tensor:
    """The rows of ``ssm_in`` as all queries, all keys, all values and all gates."""
    values = sizes.value_size // sizes.n_key_heads
    parts = [sizes.head_dim, sizes.head_dim, values, values]
    rows = torch.arange(sizes.conv_size + sizes.value_size).view(sizes.n_key_heads, -1)
    return torch.cat([part.flatten() for part in torch.split(rows, parts, dim=1)])
