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
    for tokens, read, write in _sequences(layout):
        window = torch.cat((_read(state, read), x[tokens]))
        y = torch.zeros_like(out[tokens]) if bias is None else bias.expand_as(out[tokens])
        for j in range(width):
            y = y + window[j : j + len(y)] * weight[j]
        out[tokens] = functional.silu(y.double()) if activation == "silu" else y
        state[write] = window[len(window) - width + 1 :]
    return out


def _sequences(layout: TokenLayout) -> Iterator[tuple[slice, int, int]]:
    """The tokens of each sequence, and the rows of its state."""
    starts = layout.seq_starts.tolist()
    rows = zip(layout.state_reads.tolist(), layout.state_writes.tolist(), strict=True)
    for (start, end), (read, write) in zip(pairwise(starts), rows, strict=True):
        yield slice(start, end), read, write


def _read(state: torch.Tensor, row: int) -> torch.Tensor:
    return torch.zeros_like(state[0]) if row < 0 else state[row]
