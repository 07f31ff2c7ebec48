"""Gated delta networks, token by token (arXiv:2412.06464, arXiv:2510.26692)."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from ..layout import TokenLayout
from ..specs import DeltaSpec
from .states import read_state, sequences


def delta_scan(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    decay: torch.Tensor,
    beta: torch.Tensor,
    state: torch.Tensor,
    layout: TokenLayout,
    spec: DeltaSpec,
) -> torch.Tensor:
    out = torch.empty_like(v, memory_format=torch.contiguous_format)
    for tokens, read, write in sequences(layout):
        known = read_state(state, read)
        # Each token for itself: by the number of elements, torch chooses how it computes their functions.
        for t in range(tokens.start, tokens.stop):
            query, key = (_for_value_heads(_unit(x[t], spec.eps), v.shape[1], spec.tiled) for x in (q, k))
            known = known * _kept(decay[t], spec)
            error = (v[t] - _answers(known, key)) * torch.sigmoid(beta[t])[:, None]
            known = known + key[:, :, None] * error[:, None, :]
            out[t] = _answers(known, query / math.sqrt(q.shape[2]))
        state[write] = known
    return out


def _unit(x: torch.Tensor, eps: float) -> torch.Tensor:
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + eps)


def _for_value_heads(x: torch.Tensor, n_heads: int, tiled: bool) -> torch.Tensor:
    """(n_k_heads, key_dim) -> (n_heads, key_dim): what each value head reads."""
    n_rep = n_heads // len(x)
    return x.repeat(n_rep, 1) if tiled else x.repeat_interleave(n_rep, dim=0)


def _kept(decay: torch.Tensor, spec: DeltaSpec) -> torch.Tensor:
    """What stays of a state: decay (n_heads * n_decays,) -> (n_heads, key_dim or 1, 1)."""
    rate = functional.softplus(decay + spec.decay_bias).reshape(len(spec.decay_scale), -1)
    return torch.exp(spec.decay_scale[:, None] * rate)[..., None]


def _answers(known: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """known (n_heads, key_dim, value_dim), x (n_heads, key_dim) -> (n_heads, value_dim)."""
    return (known * x[:, :, None]).sum(1)
