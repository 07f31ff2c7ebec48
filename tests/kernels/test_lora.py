"""Low-rank additions: the native operator against the reference, on every level; rows do not see each other."""

import pytest
import torch
from support.levels import LEVELS, open_level
from support.paged import rand

from gristmill.kernels import open_ops
from gristmill.kernels.lora import LoraPair, LoraTable, padded_rank
from gristmill.kernels.specs import Norm

RANKS = (1, 3, 8, 16, 33)
IDS = torch.tensor([-1, 0, 0, 0, 0, 0, 3, 4, -1, 2, 1, 1, -1, 4, 4, 0, 0, 3, 3], dtype=torch.int32)


@pytest.fixture(params=LEVELS)
def ops(request):
    return open_level(request.param)


@pytest.fixture
def reference():
    return open_ops("reference")


def table(n_out, n_in, *, seed=0, ranks=RANKS, stack=()):
    """Pairs of these ranks, every other one in halves."""
    made = LoraTable(n_in)
    for i, rank in enumerate(ranks):
        a, b = rand(*stack, rank, n_in, seed=seed + i), rand(*stack, n_out, rank, seed=seed + 50 + i)
        made.put(i, LoraPair.of(a / n_in**0.5, b, halves=i % 2 == 0))
    return made


def close(x, y):
    torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("n_in", "sizes"), [(1, (1,)), (15, (33, 16)), (64, (31,)), (100, (130, 64, 1)), (48, (65,) * 4)]
)
@pytest.mark.parametrize("n", [1, 2, 3, 5, 19])
@pytest.mark.parametrize("normed", [False, True])
def test_products_with_many_adapters(ops, reference, n_in, sizes, n, normed):
    x, ids, norm = rand(n, n_in), IDS[-n:].contiguous(), Norm(rand(n_in, seed=9), 1e-5) if normed else None
    tables = [table(size, n_in, seed=7 * i) for i, size in enumerate(sizes)]
    before = [rand(n, size, seed=3) for size in sizes]
    mine, expected = ([y.clone() for y in before] for _ in range(2))
    ops.lora(mine, x, tables, ids, 36, norm)
    reference.lora(expected, x, tables, ids, 36, norm)
    for found, wanted, old in zip(mine, expected, before, strict=True):
        close(found, wanted)
        assert torch.equal(found[ids < 0], old[ids < 0]), "rows without an adapter are not touched"


def test_a_row_is_the_same_alone_and_among_others(ops, reference):
    n, n_in, n_out = len(IDS), 70, 90
    x, tables = rand(n, n_in), [table(n_out, n_in)]
    for one in (ops, reference):
        together = [torch.zeros(n, n_out)]
        one.lora(together, x, tables, IDS, 36)
        for i in range(n):
            alone = [torch.zeros(1, n_out)]
            one.lora(alone, x[i : i + 1], tables, IDS[i : i + 1].clone(), 36)
            assert torch.equal(alone[0], together[0][i : i + 1])


def test_what_overflows_stays_in_its_row(ops, reference):
    for one in (ops, reference):
        huge, y = table(8, 8, ranks=(4, 4)), torch.zeros(3, 8)
        huge.put(1, LoraPair.of(torch.full((4, 8), 1e38), torch.full((8, 4), 1e38), halves=True))
        one.lora([y], torch.ones(3, 8), [huge], torch.tensor([0, 1, -1], dtype=torch.int32), 4)
        assert y[0].isfinite().all()
        assert not y[1].isfinite().any()
        assert torch.equal(y[2], torch.zeros(8))


@pytest.mark.parametrize("n_given", [1, 3])
def test_experts_have_their_own_pairs(ops, reference, n_given):
    n, k, n_experts, n_in, n_out = 9, 3, 5, 40, 50
    x, experts = rand(n, n_given, n_in), torch.randint(0, n_experts, (n, k), generator=torch.Generator().manual_seed(1))
    ids, pairs = IDS[:n].contiguous(), table(n_out, n_in, ranks=(1, 3, 8, 5, 2), stack=(n_experts,))
    mine, expected = torch.ones(n, k, n_out), torch.ones(n, k, n_out)
    ops.lora_experts(mine, x, pairs, ids, 8, experts)
    reference.lora_experts(expected, x, pairs, ids, 8, experts)
    close(mine, expected)
    dense = pairs.pairs[4].b[experts[7, 1]] @ pairs.pairs[4].a[experts[7, 1]]
    close(mine[7, 1], 1 + dense @ x[7, min(1, n_given - 1)])


def test_embeddings_take_a_row_of_a(ops, reference):
    n_vocab, hidden, ids = 20, 35, torch.tensor([3, 0, 19, 3])
    made = LoraTable(n_vocab)
    for i, rank in enumerate((1, 6)):
        a, b = rand(n_vocab, rank, seed=i), rand(hidden, rank, seed=5 + i)
        made.put(i, LoraPair.of(a, b, embedding=True, halves=i == 0))
    which = torch.tensor([1, 0, 1, -1], dtype=torch.int32)
    mine, expected = torch.zeros(4, hidden), torch.zeros(4, hidden)
    ops.lora_embedding(mine, ids, made, which, 8)
    reference.lora_embedding(expected, ids, made, which, 8)
    close(mine, expected)
    close(mine[2], made.pairs[1].b @ made.pairs[1].a[19])


def test_a_recorded_step_takes_other_adapters(ops):
    n, n_in, n_out = 5, 32, 48
    x, y, made = rand(n, n_in), rand(n, n_out), table(n_out, n_in, ranks=(4, 7))
    which = torch.full((n,), -1, dtype=torch.int32)
    zero = torch.zeros(n, n_out)

    def step():
        out = ops.add(y, zero)
        ops.lora([out], x, [made], which, 8)
        return out

    graph = ops.capture(step)
    assert torch.equal(graph.replay(), y)
    for ids in ([0, 1, -1, 0, 1], [1, 1, 1, 1, -1]):
        which.copy_(torch.tensor(ids))
        expected = [y.clone()]
        ops.lora(expected, x, [made], which, 8)
        assert torch.equal(graph.replay(), expected[0])
    made.drop(1)
    made.put(1, LoraPair.of(rand(2, n_in, seed=77), rand(n_out, 2, seed=78)))  # another one at the same place
    expected = [y.clone()]
    ops.lora(expected, x, [made], which, 8)
    assert torch.equal(graph.replay(), expected[0])
    assert not torch.equal(expected[0], y)


def test_a_pair_is_stored_padded():
    pair = LoraPair.of(rand(3, 17), rand(33, 3))
    assert (tuple(pair.stored_a.shape), tuple(pair.stored_b.shape)) == ((1, 2, 4, 16), (2, 4, 32))
    assert (pair.rank, padded_rank(3), pair.n_bytes) == (3, 4, 4 * 4 * 96)
    assert torch.equal(pair.a, rand(3, 17))
    assert torch.equal(pair.b, rand(33, 3))


def test_halves_are_for_numbers_that_they_can_hold():
    a, b = rand(3, 17), rand(2, 33, 3)
    close_to = LoraPair.of(a, b[0], halves=True)
    assert close_to.stored_a.dtype == close_to.stored_b.dtype == torch.float16
    assert torch.equal(close_to.b, b[0].half().float())
    for narrow in (a * 1e-6, a * 1e6):
        assert LoraPair.of(narrow, b[0], halves=True).stored_a.dtype == torch.float32
    assert LoraPair.of(a * 0, b[0], halves=True).stored_a.dtype == torch.float16
