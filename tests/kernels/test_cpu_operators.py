"""The native operators other than products, against the reference, on every level."""

from dataclasses import replace

import pytest
import torch
from support.levels import LEVELS, open_level
from support.paged import Paged, rand

from gristmill.kernels import FORMATS, open_ops
from gristmill.kernels.cpu.arena import Arena
from gristmill.kernels.kv import KV_TYPES
from gristmill.kernels.layout import TokenLayout
from gristmill.kernels.reference import ReferenceBackend
from gristmill.kernels.specs import AttentionSpec, LayerNorm, Norm, Rotation, Routing

SPECS = [
    AttentionSpec(0.2),
    AttentionSpec(0.2, window=1),
    AttentionSpec(0.2, window=33),
    AttentionSpec(0.5, softcap=5.0),
    AttentionSpec(0.2, chunk=100),
    AttentionSpec(0.2, slopes=torch.tensor([0.5, 0.25, 0.1, 0.05, 0.01, 0.0])),
    AttentionSpec(0.2, window=33, sinks=torch.tensor([0.0, 100.0, -100.0, 1.0, 2.0, 3.0])),
]


@pytest.fixture(params=LEVELS)
def ops(request):
    return open_level(request.param)


@pytest.fixture
def reference():
    return open_ops("reference")


def close(x, y):
    torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-5)


def test_every_operator_is_there(ops):
    assert set(ops.table.backends[0].kernels) == set(ReferenceBackend().kernels)


@pytest.mark.parametrize(("n", "d"), [(1, 1), (3, 15), (33, 577)])
def test_rows_and_elements(ops, reference, n, d):
    x, y, row, norm = rand(n, d), rand(n, d, seed=1), rand(d, seed=2), Norm(rand(d, seed=3), 1e-6)
    layer_norm = LayerNorm(norm.weight, row, 1e-6)
    for other in (ops, reference):
        other.results = [
            other.rms_norm(x, norm),
            other.rms_norm(x, norm, y),
            other.layer_norm(x + 3, layer_norm),
            other.add(x, y),
            other.add(x, row),
            other.scale(x, 3.0),
            other.scale(x, torch.tensor([0.5])),
            other.scale(x, y[:, :1]),
            other.softcap(x * 50, 30.0),
            other.gated(x * 4, y, "silu"),
            other.gated(x * 4, y, "gelu"),
            *(other.activate(x * 4, activation) for activation in ("silu", "gelu", "gelu_erf")),
            other.gather(x, torch.tensor([n - 1, 0, 0])),
        ]
    for mine, expected in zip(ops.results, reference.results, strict=True):
        close(mine, expected)


def test_activations_far_from_zero_saturate(ops):
    x, one = torch.tensor([[-1e4, -100.0, 100.0, 1e4]]), torch.ones(1, 4)
    for activation in ("silu", "gelu"):
        torch.testing.assert_close(
            ops.gated(x, one, activation), torch.tensor([[0.0, 0.0, 100.0, 1e4]]), atol=1e-30, rtol=0
        )
    torch.testing.assert_close(ops.activate(x, "gelu_erf"), torch.tensor([[0.0, 0.0, 100.0, 1e4]]), atol=1e-30, rtol=0)


@pytest.mark.parametrize("normalize", [True, False])
def test_route_and_combine(ops, reference, normalize):
    logits, y = rand(7, 13) * 3, rand(7, 4, 33)
    routing = Routing(4, normalize=normalize)
    weights, experts = ops.route(logits, routing)
    expected, best = reference.route(logits, routing)
    assert torch.equal(experts, best)
    close(weights, expected)
    close(ops.combine(y, weights), reference.combine(y, weights))


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("gating", ["softmax", "sigmoid", "softmax-of-chosen"])
@pytest.mark.parametrize(
    ("n_experts", "n_used", "groups"), [(1, 1, (1, 1)), (12, 5, (4, 3)), (9, 3, (9, 3)), (256, 8, (8, 4))]
)
def test_every_way_to_route(ops, reference, gating, biased, n_experts, n_used, groups):
    logits, bias = rand(7, n_experts) * 3, rand(n_experts, seed=5) if biased else None
    routing = Routing(n_used, gating, True, 2.5, *groups)
    weights, experts = ops.route(logits, routing, bias)
    expected, best = reference.route(logits, routing, bias)
    assert torch.equal(experts, best)
    close(weights, expected)


def test_impossible_routing_is_refused(ops):
    with pytest.raises(ValueError, match="cannot be routed"):
        ops.route(rand(2, 8), Routing(5, n_groups=4, n_groups_used=2))


@pytest.mark.parametrize("activation", ["silu", "gelu", "gelu_erf", "relu", "relu_sqr", "sigmoid", "oai_swiglu"])
def test_gates(ops, reference, activation):
    gate, up = rand(5, 33) * 9, rand(5, 33, seed=3) * 9
    close(ops.gated(gate, up, activation), reference.gated(gate, up, activation))


@pytest.mark.parametrize(("n", "heads", "left", "right"), [(1, 1, 1, 1), (3, 5, 7, 33), (2, 4, 64, 0), (4, 3, 0, 16)])
def test_concat_joins_heads_that_lie_apart(ops, reference, n, heads, left, right):
    x, y = rand(n, heads, left + 3)[..., :left], rand(n, heads, right + 2, seed=1)[..., 2:]
    for one in (x, x[:, :1]):
        assert torch.equal(ops.concat(one, y), reference.concat(one, y))
        assert torch.equal(ops.concat(one, y), torch.cat((one.expand(n, heads, left), y), dim=2))


def test_clamp(ops, reference):
    x = rand(3, 17) * 4
    x[0, 0], x[1, 1] = torch.inf, -torch.inf
    close(ops.clamp(x, 1.5), reference.clamp(x, 1.5))


@pytest.mark.parametrize(("n", "k"), [(1, 1), (63, 63), (64, 1), (100, 7), (5000, 40), (5000, 600)])
def test_the_highest_numbers_in_order(ops, reference, n, k):
    for x in (rand(n), rand(n).round(), torch.arange(float(n)), torch.full((n,), -torch.inf)):
        for mine, expected in zip(ops.top_k(x, k), reference.top_k(x, k), strict=True):
            assert torch.equal(mine, expected)


@pytest.mark.parametrize("n", [1, 31, 32, 33, 64, 1000, 49152])
def test_masked_numbers(ops, reference, n):
    x = rand(n)
    x[0] = float("nan")
    n_words = -(-n // 32)
    some = torch.randint(-(2**31), 2**31, (n_words,), dtype=torch.int32)
    some[: n_words // 3], some[n_words // 3 : n_words // 2] = 0, -1
    for bits in (some, torch.zeros_like(some), torch.full_like(some, -1), torch.cat([some, some])):
        torch.testing.assert_close(ops.masked(x, bits), reference.masked(x, bits), rtol=0, atol=0, equal_nan=True)


def test_the_highest_of_a_row_that_is_mostly_minus_infinity(ops, reference):
    x = torch.full((5000,), -torch.inf)
    x[[4999, 70, 300]] = torch.tensor([-3e38, 2.0, torch.finfo(torch.float32).min])
    for k in (1, 3, 40):
        values, ids = ops.top_k(x, k)
        assert values.tolist() == reference.top_k(x, k)[0].tolist()
        assert ids[:3].tolist() == reference.top_k(x, k)[1][:3].tolist()


@pytest.mark.parametrize("n", [1, 31, 32, 33, 64, 65, 1000, 5000])
def test_the_highest_of_what_a_mask_allows_is_that_of_the_masked_row(ops, reference, n):
    n_words = -(-n // 32)
    some = torch.randint(-(2**31), 2**31, (n_words,), dtype=torch.int32)
    some[: n_words // 3], some[n_words // 3 : n_words // 2] = 0, -1
    few = torch.zeros_like(some)
    few[-1] = 1
    for x in (rand(n), rand(n).round(), torch.where(rand(n) > 0, rand(n), -torch.inf)):
        for bits in (some, few, torch.zeros_like(some), torch.full_like(some, -1)):
            for k in {1, min(n, 3), min(n, 40), n}:
                for mine, expected in zip(ops.top_k(x, k, bits), reference.top_k(x, k, bits), strict=True):
                    assert torch.equal(mine, expected)


def test_what_is_no_number_is_highest(ops, reference):
    x = rand(1000)
    x[70], x[3], x[999] = float("nan"), torch.inf, float("nan")
    values, ids = ops.top_k(x, 4)
    assert ids.tolist() == reference.top_k(x, 4)[1].tolist()
    assert values[:2].isnan().all()


@pytest.mark.parametrize("norm_last", [False, True])
@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("kv_type", list(KV_TYPES))
def test_rope_norms_and_the_cache(ops, reference, interleaved, kv_type, norm_last):
    dim = 32 if KV_TYPES[kv_type].multiple > 1 else 24
    positions, inv_freq = torch.tensor([0, 5, 100_000]), torch.rand(dim // 4, dtype=torch.float64)
    norms = (Norm(rand(dim, seed=4), 1e-6), Norm(rand(dim, seed=5), 1e-6))
    for other in (ops, reference):
        rotation = Rotation(*other.rope_angles(positions, inv_freq, 1.5), interleaved)
        paged = Paged(other, [3], [3], dim=dim, kv_type=kv_type)
        layout = TokenLayout(
            positions,
            torch.tensor([2, 0, 1]),
            torch.tensor([0, 3], dtype=torch.int32),
            torch.zeros(1, 1, dtype=torch.int32),
            torch.tensor([3], dtype=torch.int32),
            16,
        )
        caches = (paged.k_cache, paged.v_cache)
        apart = torch.cat((paged.values[0], paged.keys[0]), dim=2)[..., :dim]  # heads of values may lie apart
        q = other.rope_store(paged.q[0], paged.keys[0], apart, rotation, *caches, layout, norms, norm_last)
        other.results = [q, other.attention(q, *caches, layout, AttentionSpec(0.1))]
    for mine, expected in zip(ops.results, reference.results, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-4 if kv_type in ("f32", "f16") else 2e-2)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize(
    ("lengths", "new"),
    [([1], [1]), ([17, 600, 3], [1, 5, 3]), ([257, 256], [257, 1]), ([1100, 64, 513], [1, 1, 1]), ([530], [30])],
)
def test_attention_equals_the_plain_formula_over_odd_lengths(ops, spec, lengths, new):
    paged = Paged(ops, lengths, new)
    out = ops.attention(torch.cat(paged.q), paged.k_cache, paged.v_cache, paged.layout, spec)
    expected = torch.cat([paged.plain(i, spec) for i in range(len(lengths))])
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("spec", [AttentionSpec(0.2, window, window / 7, causal=False) for window in (0, 1, 33, 700)])
@pytest.mark.parametrize("lengths", [[1], [17, 600, 3], [257, 256, 1], [1100, 64]])
def test_attention_to_both_sides_equals_the_plain_formula(ops, reference, spec, lengths):
    for other in (ops, reference):
        paged = Paged(other, lengths, lengths)
        out = other.attention(torch.cat(paged.q), paged.k_cache, paged.v_cache, paged.layout, spec)
        expected = torch.cat([paged.plain(i, spec) for i in range(len(lengths))])
        torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kv_type", "tolerance"), [("f16", 2e-3), ("bf16", 2e-2), ("q8_0", 2e-2), ("q4_0", 0.3)])
@pytest.mark.parametrize("dim", [32, 64, 96])
def test_attention_over_each_type_of_cache(ops, kv_type, tolerance, dim):
    paged = Paged(ops, [600, 40], [3, 40], dim=dim, kv_type=kv_type)
    out = ops.attention(torch.cat(paged.q), paged.k_cache, paged.v_cache, paged.layout, AttentionSpec(0.1))
    expected = torch.cat([paged.plain(i, AttentionSpec(0.1)) for i in range(2)])
    torch.testing.assert_close(out, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("kv_type", "tolerance"), [("f32", 1e-5), ("f16", 2e-3), ("q8_0", 2e-2)])
@pytest.mark.parametrize(
    ("n_heads", "n_kv_heads", "dim", "shared"), [(66, 1, 96, 64), (6, 2, 64, 57), (128, 1, 576, 512)]
)
@pytest.mark.parametrize(("lengths", "new"), [([1, 530], [1, 1]), ([17, 70], [3, 9])])
def test_attention_to_values_that_the_keys_hold(
    ops, n_heads, n_kv_heads, dim, shared, lengths, new, kv_type, tolerance
):
    heads = {"n_heads": n_heads, "n_kv_heads": n_kv_heads, "dim": dim}
    paged, spec = Paged(ops, lengths, new, kv_type=kv_type, shared_values=shared, **heads), AttentionSpec(0.05)
    out = ops.attention(
        torch.cat(paged.q), paged.k_cache, paged.v_cache, paged.layout, replace(spec, shared_values=shared)
    )
    expected = torch.cat([paged.plain(i, spec) for i in range(len(lengths))])
    torch.testing.assert_close(out, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kv_type", ["q8_0", "q4_0"])
@pytest.mark.parametrize(("dim", "lengths", "new"), [(32, [1, 17], [1, 17]), (64, [257, 4], [1, 1]), (96, [530], [30])])
def test_attention_over_codes_equals_the_reference_over_the_same_codes(ops, reference, kv_type, dim, lengths, new):
    outs = []
    for other in (ops, reference):
        paged = Paged(other, lengths, new, dim=dim, kv_type=kv_type)
        outs.append(other.attention(torch.cat(paged.q), paged.k_cache, paged.v_cache, paged.layout, AttentionSpec(0.2)))
    torch.testing.assert_close(*outs, rtol=1e-5, atol=2e-6)


def test_codes_of_four_bits_are_those_of_the_weight_format(ops):
    values = rand(16, 1, 32) * 10.0 ** torch.arange(-12, 4)[:, None, None]
    values[3], values[4, 0, 5], values[5, 0, 9] = 0.0, 5e5, -5e5
    values[6, 0, 3:6], values[7, 0, 3:6] = torch.tensor([9.0, -9.0, 9.0]), torch.tensor([-9.0, 9.0, 9.0])
    for value in values.split(1):
        paged = Paged(ops, [1], [1], n_heads=1, n_kv_heads=1, kv_type="q4_0")  # one key: its value comes out
        still = Rotation(torch.ones(1, 16), torch.zeros(1, 16), False)
        here = replace(paged.layout, slots=torch.zeros(1, dtype=torch.int64))
        ops.rope_store(value, value, value, still, paged.k_cache, paged.v_cache, here)
        out = ops.attention(paged.q[0], paged.k_cache, paged.v_cache, paged.layout, AttentionSpec(0.0))
        assert torch.equal(out, FORMATS["Q4_0"].decode(FORMATS["Q4_0"].encode(value)))


@pytest.mark.parametrize("kv_type", ["f32", "q4_0"])
@pytest.mark.parametrize("spec", [AttentionSpec(0.2), AttentionSpec(0.2, window=600)])
def test_attention_is_the_same_bit_for_bit_alone_and_in_a_batch_and_in_chunks(ops, spec, kv_type):
    both = Paged(ops, [1300, 40], [1300, 40], kv_type=kv_type)
    out = ops.attention(torch.cat(both.q), both.k_cache, both.v_cache, both.layout, spec)
    for cut in (1, 3, 16, 511, 1299):
        layout = TokenLayout(
            both.layout.positions,
            both.layout.slots,
            torch.tensor([0, 1300 - cut], dtype=torch.int32),
            both.layout.page_table[:1],
            torch.tensor([1300], dtype=torch.int32),
            16,
        )
        part = ops.attention(both.q[0][cut:], both.k_cache, both.v_cache, layout, spec)
        assert torch.equal(part, out[cut:1300]), cut


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_threads_change_no_bit(n_threads):
    spec = AttentionSpec(0.2)
    alone = open_level(None, 1)
    expected = Paged(alone, [1300], [1])
    ops = open_level(None, n_threads)
    out = ops.attention(expected.q[0], expected.k_cache, expected.v_cache, expected.layout, spec)
    same = alone.attention(expected.q[0], expected.k_cache, expected.v_cache, expected.layout, spec)
    assert torch.equal(out, same)


def test_a_recording_computes_nothing_and_its_replay_what_the_operators_do(ops):
    x, norm = rand(3, 40), Norm(rand(40, seed=1), 1e-5)

    def step():
        y = ops.rms_norm(x, norm)
        for _ in range(20):
            y = ops.add(ops.scale(y, 0.5), x)
        return y

    graph = ops.capture(step)
    x.copy_(rand(3, 40, seed=2))
    expected = step()
    assert torch.equal(graph.replay(), expected)
    assert torch.equal(graph.replay(), expected)


def test_the_arena_gives_places_again_when_the_last_view_has_gone():
    arena = Arena()
    x = arena.empty((4, 100), torch.float32)
    view, address = x[2:].reshape(-1), x.data_ptr()
    del x
    assert arena.empty((400,), torch.float32).data_ptr() != address
    del view
    again = arena.empty((8, 50), torch.float32)
    assert again.data_ptr() == address
    assert arena.owns(address)
    assert address % 64 == 0


def test_the_arena_joins_neighbours_and_grows():
    arena = Arena()
    parts = [arena.empty((1 << 16,), torch.float32) for _ in range(4)]
    first, size = parts[0].data_ptr(), arena.n_bytes
    del parts
    assert arena.empty((4 << 16,), torch.float32).data_ptr() == first
    assert arena.n_bytes == size
    assert arena.empty((5 << 16,), torch.float32).shape == (5 << 16,)
