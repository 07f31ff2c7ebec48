"""Operators that go through a sequence token by token and keep a state of it: one sequence after the other.

Functions such as exp are computed in double precision: torch has them twice, for whole vectors and for what is left
over, and their last bits differ, so in single precision the size of a chunk would show.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch.nn import functional

from ..layout import TokenLayout
from ..specs import StateSpace


def short_conv(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    state: torch.Tensor,
    layout: TokenLayout,
    activation: str = "",
) -> torch.Tensor:
    width = len(weight)
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    for tokens, read, write in sequences(layout):
        window = torch.cat((read_state(state, read), x[tokens]))
        y = torch.zeros_like(out[tokens]) if bias is None else bias.expand_as(out[tokens])
        for j in range(width):
            y = y + window[j : j + len(y)] * weight[j]
        out[tokens] = functional.silu(y.double()) if activation == "silu" else y
        state[write] = window[len(window) - width + 1 :]
    return out


def ssd_scan(
    x: torch.Tensor,
    dt: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor,
    space: StateSpace,
    state: torch.Tensor,
    layout: TokenLayout,
) -> torch.Tensor:
    n, (n_heads, d_state, head_dim) = len(x), state.shape[1:]
    steps = _steps(dt, space)
    b, c = (_per_head(rows.reshape(n, -1, d_state), n_heads) for rows in (b, c))
    heads = x.reshape(n, n_heads, 1, head_dim)
    decays = torch.exp(steps * space.a.double()).float()[..., None, None]
    inputs = steps.float()[..., None, None] * heads * b
    y = _scan(decays, inputs, c, state, layout) + space.d[:, None] * heads[:, :, 0]
    return y.reshape(n, n_heads * head_dim)


def selective_scan(
    x: torch.Tensor,
    dt: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor,
    space: StateSpace,
    state: torch.Tensor,
    layout: TokenLayout,
) -> torch.Tensor:
    steps = _steps(dt, space)
    decays = torch.exp(steps[:, None, :] * space.a.double()).float()
    inputs = (steps.float() * x)[:, None, :] * b[..., None]
    return _scan(decays, inputs, c[..., None], state, layout) + space.d * x


def _steps(dt: torch.Tensor, space: StateSpace) -> torch.Tensor:
    """float64"""
    return functional.softplus((dt if space.dt_bias is None else dt + space.dt_bias).double())


def _per_head(groups: torch.Tensor, n_heads: int) -> torch.Tensor:
    """(n, n_groups, d_state) -> (n, n_heads, d_state, 1)."""
    return groups.repeat_interleave(n_heads // groups.shape[1], dim=1)[..., None]


def _scan(
    decays: torch.Tensor, inputs: torch.Tensor, c: torch.Tensor, state: torch.Tensor, layout: TokenLayout
) -> torch.Tensor:
    """Of tokens (n, ..., d_state, channels): state * decay + input, then its sum over d_state, weighed by c."""
    out = torch.empty(len(inputs), *state.shape[1:-2], state.shape[-1], device=state.device)
    for tokens, read, write in sequences(layout):
        now = read_state(state, read)
        for t in range(tokens.start, tokens.stop):
            now = now * decays[t] + inputs[t]
            out[t] = (now * c[t]).sum(dim=-2)
        state[write] = now
    return out


def sequences(layout: TokenLayout) -> Iterator[tuple[slice, int, int]]:
    """The tokens of each sequence, and the rows of its state."""
    starts = layout.seq_starts.tolist()
    rows = zip(layout.state_reads.tolist(), layout.state_writes.tolist(), strict=True)
    for (start, end), (read, write) in zip(pairwise(starts), rows, strict=True):
        yield slice(start, end), read, write


def read_state(state: torch.Tensor, row: int) -> torch.Tensor:
    return torch.zeros_like(state[0]) if row < 0 else state[row]
