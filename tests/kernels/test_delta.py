"""Gated delta networks against the formula in double precision, the reference and the native kernels alike."""

import math

import pytest
import torch
from support.levels import LEVELS, open_level
from support.paged import rand
from support.states import in_chunks, state_layout

from gristmill.kernels import open_ops
from gristmill.kernels.specs import DeltaSpec

# key heads, value heads, elements of a key, of a value
SIZES = [(1, 1, 1, 1), (2, 2, 15, 33), (2, 6, 18, 16), (3, 3, 33, 70), (1, 2, 128, 128)]
EPS = 1e-5


@pytest.fixture(params=["reference", *LEVELS])
def ops(request):
    return open_ops("reference") if request.param == "reference" else open_level(request.param)


class Inputs:
    """Of n tokens, cut out of wider rows; ``spec`` with a decay for each head, or for each element of its keys."""

    def __init__(self, n, sizes, *, per_key=False, tiled=False):
        n_k_heads, n_v_heads, k_dim, v_dim = sizes
        mixed = rand(n, 2 * n_k_heads * k_dim + n_v_heads * v_dim + 3)
        parts = mixed[:, 3:].split([n_k_heads * k_dim, n_k_heads * k_dim, n_v_heads * v_dim], 1)
        heads = (n_k_heads, n_k_heads, n_v_heads)
        self.q, self.k, self.v = (part.unflatten(1, (h, -1)) for part, h in zip(parts, heads, strict=True))
        n_decays = n_v_heads * k_dim if per_key else n_v_heads
        self.decay, self.beta = (rand(n, n_decays + 2, seed=1) * 3)[:, 2:], rand(n, n_v_heads + 1, seed=2)[:, 1:]
        self.spec = DeltaSpec(rand(n_decays, seed=3), -rand(n_v_heads, seed=4).abs(), EPS, tiled)

    def run(self, ops, state, layout, tokens=slice(None)):
        rows = (x[tokens] for x in (self.q, self.k, self.v, self.decay, self.beta))
        return ops.delta_scan(*rows, state, layout, self.spec)

    def plain(self, tokens, known):
        """known (n_v_heads, key_dim, value_dim) -> outputs, and what is known after them; loops over all heads."""
        outs, known = [], known.double()
        n_heads, (_, n_k_heads, k_dim) = self.v.shape[1], self.k.shape
        for t in range(tokens.start, tokens.stop):
            for h in range(n_heads):
                key_head = h % n_k_heads if self.spec.tiled else h * n_k_heads // n_heads
                q, k = (x[t, key_head].double() for x in (self.q, self.k))
                q, k = (x / math.sqrt(x @ x + EPS) for x in (q, k))
                rate = self.decay[t].double() + self.spec.decay_bias.double()
                rate = rate.unflatten(0, (n_heads, -1))[h].exp().log1p() * self.spec.decay_scale[h].double()
                known[h] *= rate.exp()[:, None]
                error = self.v[t, h].double() - k @ known[h]
                known[h] += torch.outer(k, error * torch.sigmoid(self.beta[t, h].double()))
                outs.append(q @ known[h] / math.sqrt(k_dim))
        return torch.stack(outs).reshape(-1, *self.v.shape[1:]), known


def state_of(n_rows, sizes, seed=9):
    return rand(n_rows, *sizes[1:], seed=seed)


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("per_key", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("lengths", [(1,), (1, 1, 1), (7, 1, 2, 20)])
def test_each_sequence_goes_on_from_its_own_state(ops, lengths, sizes, per_key, tiled):
    inputs = Inputs(sum(lengths), sizes, per_key=per_key, tiled=tiled)
    state = state_of(6, sizes)
    before, start = state.clone(), 0
    reads, writes = [4, -1, 5, 5][: len(lengths)], [4, 0, 3, 2][: len(lengths)]
    y = inputs.run(ops, state, state_layout(lengths, reads, writes))
    for n, read, write in zip(lengths, reads, writes, strict=True):
        tokens = slice(start, start := start + n)
        expected, known = inputs.plain(tokens, before[read] if read >= 0 else torch.zeros_like(before[0]))
        torch.testing.assert_close(y[tokens].double(), expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(state[write].double(), known, rtol=1e-5, atol=1e-5)
    untouched = [row for row in range(6) if row not in writes]
    assert torch.equal(state[untouched], before[untouched])


@pytest.mark.parametrize("per_key", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
def test_chunks_change_no_bit(ops, sizes, per_key):
    inputs = Inputs(50, sizes, per_key=per_key)
    state = torch.full((2, *sizes[1:]), torch.nan)
    whole = inputs.run(ops, state, state_layout([50], [-1], [0]))
    for chunks in ([1], [2, 1, 20], [49, 1]):
        assert torch.equal(in_chunks(lambda tokens, layout: inputs.run(ops, state, layout, tokens), 50, chunks), whole)
        assert torch.equal(state[1], state[0])


@pytest.mark.parametrize("per_key", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
def test_a_sequence_is_the_same_bit_for_bit_alone_and_in_a_batch(ops, sizes, per_key):
    inputs, state = Inputs(30, sizes, per_key=per_key), state_of(3, sizes)
    alone = state.clone()
    y = inputs.run(ops, state, state_layout([17, 1, 12], [0, 1, 2], [0, 1, 2]))
    assert torch.equal(inputs.run(ops, alone, state_layout([12], [2], [2]), slice(18, 30)), y[18:])
    assert torch.equal(alone[2], state[2])


@pytest.mark.parametrize("per_key", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("n_threads", [1, 3])
def test_levels_and_threads_change_no_bit(sizes, per_key, n_threads):
    inputs, layout = Inputs(9, sizes, per_key=per_key), state_layout([8, 1], [-1, 1], [0, 1])
    results = []
    for ops in (open_level(level, n_threads) for level in LEVELS):
        state = state_of(2, sizes)
        results.append((inputs.run(ops, state, layout), state))
    for y, state in results[1:]:
        assert torch.equal(y, results[0][0])
        assert torch.equal(state, results[0][1])


def test_a_recorded_step_reads_the_rows_that_it_is_given_each_time(ops):
    sizes = SIZES[1]
    inputs, layout, state = Inputs(2, sizes), state_layout([1, 1], [-1, -1], [0, 1]), state_of(4, sizes)
    graph = ops.capture(lambda: inputs.run(ops, state, layout))
    for read, write in (([-1, -1], [0, 1]), ([1, 0], [2, 3]), ([2, 3], [2, 3])):
        expected = inputs.run(ops, twin := state.clone(), state_layout([1, 1], read, write))
        layout.state_reads.copy_(torch.tensor(read))
        layout.state_writes.copy_(torch.tensor(write))
        assert torch.equal(graph.replay(), expected)
        assert torch.equal(state, twin)


def test_numbers_far_from_zero_keep_all_or_nothing(ops):
    inputs = Inputs(2, (1, 1, 8, 16))
    inputs.decay[:], inputs.beta[:] = torch.tensor([[-200.0], [200.0]]), 200.0
    state = state_of(1, (1, 1, 8, 16))
    y = inputs.run(ops, state, state_layout([2], [0], [0]))
    expected, known = inputs.plain(slice(0, 2), state_of(1, (1, 1, 8, 16))[0])
    torch.testing.assert_close(y.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(state[0].double(), known, rtol=1e-5, atol=1e-5)
