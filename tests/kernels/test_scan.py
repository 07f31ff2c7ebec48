"""Selective state spaces against the formula in double precision, the reference and the native kernels alike."""

from dataclasses import replace

import pytest
import torch
from support.levels import LEVELS, open_level
from support.paged import rand
from support.states import in_chunks, state_layout

from gristmill.kernels import open_ops
from gristmill.kernels.specs import StateSpace


class Ssd:
    """Of Mamba 2: inputs of n tokens, whose rows are apart, and the formula."""

    def __init__(self, n, n_heads, head_dim, n_groups, d_state):
        self.state_shape = (n_heads, d_state, head_dim)
        sizes = [n_heads * head_dim, n_heads, n_groups * d_state, n_groups * d_state]
        self.inputs = (rand(n, sum(sizes)) * 2).split(sizes, dim=1)
        self.space = StateSpace(-rand(n_heads, seed=1).exp(), rand(n_heads, seed=2), rand(n_heads, seed=3))

    def run(self, ops, tokens, state, layout):
        return ops.ssd_scan(*(x[tokens] for x in self.inputs), self.space, state, layout)

    def plain(self, tokens, state):
        n_heads, d_state, head_dim = self.state_shape
        a, d, bias = (x.double() for x in (self.space.a, self.space.d, self.space.dt_bias))
        out = []
        for x, dt, b, c in zip(*(x[tokens].double() for x in self.inputs), strict=True):
            heads = x.reshape(n_heads, 1, head_dim)
            step = torch.log1p(torch.exp(dt + bias))[:, None, None]
            b, c = (v.reshape(-1, d_state).repeat_interleave(n_heads * d_state // len(v), 0)[..., None] for v in (b, c))
            state = state * torch.exp(step * a[:, None, None]) + step * heads * b
            out.append(((state * c).sum(1) + d[:, None] * heads[:, 0]).flatten())
        return torch.stack(out), state


class Selective:
    """Of Mamba."""

    def __init__(self, n, channels, d_state):
        self.state_shape = (d_state, channels)
        sizes = [channels, channels, d_state, d_state]
        self.inputs = (rand(n, sum(sizes)) * 2).split(sizes, dim=1)
        self.space = StateSpace(-rand(d_state, channels, seed=1).exp(), rand(channels, seed=2))

    def run(self, ops, tokens, state, layout):
        return ops.selective_scan(*(x[tokens] for x in self.inputs), self.space, state, layout)

    def plain(self, tokens, state):
        out = []
        for x, dt, b, c in zip(*(x[tokens].double() for x in self.inputs), strict=True):
            step = torch.log1p(torch.exp(dt))
            state = state * torch.exp(step * self.space.a.double()) + step * x * b[:, None]
            out.append((state * c[:, None]).sum(0) + self.space.d.double() * x)
        return torch.stack(out), state


MAKERS = {
    "ssd, one of each": lambda n: Ssd(n, 1, 1, 1, 1),
    "ssd, usual": lambda n: Ssd(n, 4, 64, 1, 128),
    "ssd, groups": lambda n: Ssd(n, 6, 80, 3, 18),
    "ssd, odd": lambda n: Ssd(n, 2, 33, 2, 7),
    "selective, one of each": lambda n: Selective(n, 1, 1),
    "selective, usual": lambda n: Selective(n, 96, 16),
    "selective, odd": lambda n: Selective(n, 33, 7),
}


@pytest.fixture(params=["reference", *LEVELS])
def ops(request):
    return open_ops("reference") if request.param == "reference" else open_level(request.param)


@pytest.fixture(params=MAKERS, ids=lambda name: name.replace(", ", "-").replace(" ", "-"))
def make(request):
    return MAKERS[request.param]


def close(x, y):
    torch.testing.assert_close(x.double(), y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("lengths", [(1,), (1, 1, 1), (7, 1, 2, 40), (16, 17)])
def test_each_sequence_goes_on_from_its_own_state(ops, make, lengths):
    case = make(sum(lengths))
    state = rand(6, *case.state_shape, seed=4)
    before = state.clone()
    reads, writes = [4, -1, 5, 5][: len(lengths)], [4, 0, 3, 2][: len(lengths)]
    layout = state_layout(lengths, reads, writes)
    y = case.run(ops, slice(None), state, layout)
    for i, out in enumerate(y.split(lengths)):
        kept = before[reads[i]].double() if reads[i] >= 0 else torch.zeros(case.state_shape, dtype=torch.float64)
        expected, left = case.plain(slice(*layout.seq_starts[i : i + 2].tolist()), kept)
        close(out, expected)
        close(state[writes[i]], left)
    untouched = [row for row in range(6) if row not in writes]
    assert torch.equal(state[untouched], before[untouched])


def test_chunks_change_no_bit(ops, make):
    case = make(50)
    state = torch.full((2, *case.state_shape), torch.nan)
    whole = case.run(ops, slice(0, 50), state, state_layout([50], [-1], [0]))
    for sizes in ([1], [2, 1, 20], [16, 17], [49, 1]):
        parts = in_chunks(lambda tokens, layout: case.run(ops, tokens, state, layout), 50, sizes)
        assert torch.equal(parts, whole)
        assert torch.equal(state[1], state[0])


@pytest.mark.parametrize("n_threads", [1, 3])
def test_levels_and_threads_change_no_bit(make, n_threads):
    case, layout, results = make(20), state_layout([19, 1], [-1, 1], [0, 1]), []
    for ops in (open_level(level, n_threads) for level in LEVELS):
        state = rand(2, *case.state_shape, seed=3)
        results.append((case.run(ops, slice(None), state, layout), state))
    for y, state in results[1:]:
        assert torch.equal(y, results[0][0])
        assert torch.equal(state, results[0][1])


def test_a_recorded_step_reads_the_rows_that_it_is_given_each_time(ops, make):
    case, layout = make(2), state_layout([1, 1], [-1, -1], [0, 1])
    state = rand(4, *case.state_shape, seed=3)
    graph = ops.capture(lambda: case.run(ops, slice(None), state, layout))
    for read, write in (([-1, -1], [0, 1]), ([1, 0], [2, 3]), ([2, 3], [2, 3])):
        expected = case.run(ops, slice(None), twin := state.clone(), state_layout([1, 1], read, write))
        layout.state_reads.copy_(torch.tensor(read))
        layout.state_writes.copy_(torch.tensor(write))
        assert torch.equal(graph.replay(), expected)
        assert torch.equal(state, twin)


def test_steps_far_from_zero_decay_to_nothing_or_not_at_all(ops):
    case = Ssd(4, 1, 16, 1, 4)
    dt = torch.tensor([[-200.0], [-30.0], [40.0], [500.0]])
    case.inputs, case.space = (
        (case.inputs[0], dt, *case.inputs[2:]),
        replace(case.space, dt_bias=None, a=-torch.ones(1)),
    )
    state = rand(1, *case.state_shape, seed=4)
    before = state.double()
    y = case.run(ops, slice(None), state, state_layout([4], [0], [0]))
    case.space = replace(case.space, dt_bias=torch.zeros(1))
    expected, _ = case.plain(slice(0, 3), before[0])
    close(y[:3], expected)
    assert torch.isfinite(state).all()
    torch.testing.assert_close(state[0, 0], 500 * case.inputs[0][3] * case.inputs[2][3][:, None])


def test_heads_that_do_not_fall_into_groups_are_refused():
    case = Ssd(1, 3, 16, 1, 4)
    x, dt, b, c = case.inputs
    ops, layout = open_level(LEVELS[0]), state_layout([1], [-1], [0])
    with pytest.raises(ValueError, match="3 heads do not fall into 2 groups"):
        ops.ssd_scan(x, dt, torch.cat((b, b), 1), torch.cat((c, c), 1), case.space, rand(1, *case.state_shape), layout)
