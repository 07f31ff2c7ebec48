"""Short convolutions against the formula in double precision, the reference and the native kernels alike."""

import pytest
import torch
from support.levels import LEVELS, open_level
from support.paged import rand
from support.states import in_chunks, state_layout

from gristmill.kernels import open_ops

SIZES = [(1, 1), (2, 15), (3, 577), (4, 1040), (16, 33)]


@pytest.fixture(params=["reference", *LEVELS])
def ops(request):
    return open_ops("reference") if request.param == "reference" else open_level(request.param)


def plain(x, weight, bias, kept, activation):
    """Of one sequence; ``kept`` (width - 1, channels) came before."""
    width, window = len(weight), torch.cat((kept, x)).double()
    rows = [sum(window[t + j] * weight[j].double() for j in range(width)) for t in range(len(x))]
    y = torch.stack(rows) + (0 if bias is None else bias.double())
    return y * torch.sigmoid(y) if activation else y, window[len(x) :]


@pytest.mark.parametrize("activation", ["", "silu"])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(("width", "channels"), SIZES)
@pytest.mark.parametrize("lengths", [(1,), (1, 1, 1), (7, 1, 2, 40), (3, 3)])
def test_each_sequence_goes_on_from_its_own_state(ops, lengths, width, channels, biased, activation):
    x = rand(sum(lengths), channels + 5)[:, 2:-3]  # rows are apart
    weight, bias = rand(width, channels, seed=1), rand(channels, seed=2) if biased else None
    state = rand(6, width - 1, channels, seed=3)
    before, zeros = state.clone(), torch.zeros(width - 1, channels)
    reads, writes = [4, -1, 5, 5][: len(lengths)], [4, 0, 3, 2][: len(lengths)]
    y = ops.short_conv(x, weight, bias, state, state_layout(lengths, reads, writes), activation)
    for rows, out, read, write in zip(x.split(lengths), y.split(lengths), reads, writes, strict=True):
        kept = before[read] if read >= 0 else zeros
        expected, left = plain(rows, weight, bias, kept, activation)
        torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-5)
        assert torch.equal(state[write].double(), left)
    untouched = [row for row in range(6) if row not in writes]
    assert torch.equal(state[untouched], before[untouched])


@pytest.mark.parametrize(("width", "channels"), SIZES)
def test_chunks_change_no_bit(ops, width, channels):
    x, weight, bias = rand(50, channels), rand(width, channels, seed=1), rand(channels, seed=2)
    state = torch.full((2, width - 1, channels), torch.nan)

    def run(tokens, layout):
        return ops.short_conv(x[tokens], weight, bias, state, layout, "silu")

    whole = run(slice(0, 50), state_layout([50], [-1], [0]))
    for sizes in ([1], [2, 1, 20], [49, 1]):
        assert torch.equal(in_chunks(run, 50, sizes), whole)
        assert torch.equal(state[1], state[0])


@pytest.mark.parametrize(("width", "channels"), SIZES)
@pytest.mark.parametrize("n_threads", [1, 3])
def test_levels_and_threads_change_no_bit(width, channels, n_threads):
    x, weight, bias = rand(9, channels), rand(width, channels, seed=1), rand(channels, seed=2)
    layout = state_layout([8, 1], [-1, 1], [0, 1])
    results = []
    for ops in (open_level(level, n_threads) for level in LEVELS):
        state = rand(2, width - 1, channels, seed=3)
        results.append((ops.short_conv(x, weight, bias, state, layout, "silu"), state))
    for y, state in results[1:]:
        assert torch.equal(y, results[0][0])
        assert torch.equal(state, results[0][1])


def test_a_recorded_step_reads_the_rows_that_it_is_given_each_time(ops):
    x, weight, layout = rand(2, 40), rand(4, 40, seed=1), state_layout([1, 1], [-1, -1], [0, 1])
    state = rand(4, 3, 40, seed=3)
    graph = ops.capture(lambda: ops.short_conv(x, weight, None, state, layout))
    for read, write in (([-1, -1], [0, 1]), ([1, 0], [2, 3]), ([2, 3], [2, 3])):
        expected = ops.short_conv(x, weight, None, twin := state.clone(), state_layout([1, 1], read, write))
        layout.state_reads.copy_(torch.tensor(read))
        layout.state_writes.copy_(torch.tensor(write))
        assert torch.equal(graph.replay(), expected)
        assert torch.equal(state, twin)


def test_too_many_tokens_are_refused():
    ops = open_level(LEVELS[0])
    with pytest.raises(ValueError, match="over 17 tokens; 1 to 16"):
        ops.short_conv(rand(1, 8), rand(17, 8), None, rand(1, 16, 8), state_layout([1], [-1], [0]))
