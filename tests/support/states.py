"""Layouts of sequences with states, for tests of the operators that keep them."""

import torch

from gristmill.kernels.layout import TokenLayout


def state_layout(lengths, reads, writes):
    """Sequences of so many tokens, each with the row that its state is read from, and the one it goes to."""
    unused = torch.zeros(1, dtype=torch.int64)
    starts = torch.tensor([0, *lengths]).cumsum(0)
    starts, reads, writes = (torch.as_tensor(x, dtype=torch.int32) for x in (starts, reads, writes))
    return TokenLayout(unused, unused, starts, unused, unused, 16, reads, writes)


def in_chunks(run, n, sizes):
    """``run(tokens, layout)`` for chunks of one sequence of n tokens that keeps its state in row 1, joined."""
    outs, start = [], 0
    while start < n:
        size = min(sizes[len(outs) % len(sizes)], n - start)
        outs.append(run(slice(start, start + size), state_layout([size], [1 if start else -1], [1])))
        start += size
    return torch.cat(outs)
