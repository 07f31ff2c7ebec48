"""The reference operators against slow twins that follow the formulas element by element."""

import math
from dataclasses import replace

import pytest
import torch
from support.paged import PAGE, Paged, rand
from torch.nn import functional

from gristmill.kernels import FORMATS, QTensor, open_ops
from gristmill.kernels.layout import TokenLayout
from gristmill.kernels.reference.rope import rope
from gristmill.kernels.specs import AttentionSpec, LayerNorm, Norm, Rotation, Routing


@pytest.fixture
def ops():
    return open_ops("reference")


@pytest.mark.parametrize("n", [1, 2, 3, 5, 31, 33])
@pytest.mark.parametrize("n_out", [1, 33, 64])
def test_linear_is_the_product_with_the_transposed_weight(ops, n, n_out):
    x, w = rand(n, 65), rand(n_out, 65, seed=1)
    y = ops.linear(x, ops.prepare("w", QTensor.dense(w)))
    assert y.shape == (n, n_out)
    torch.testing.assert_close(y, (x.double() @ w.double().T).float(), rtol=1e-5, atol=1e-5)


def test_linear_takes_quantized_weights_at_their_exact_values(ops):
    blocks = FORMATS["F16"].encode(rand(8, 32))
    w = QTensor(blocks, FORMATS["F16"])
    y = ops.linear(torch.eye(32), ops.prepare("w", w))
    assert torch.equal(y.T, w.dequantize())


def test_experts_serve_each_row_by_its_own_matrix(ops):
    x, w = rand(7, 1, 32), rand(4, 16, 32, seed=1)
    experts = torch.tensor([[i % 4, (i + 2) % 4] for i in range(7)])
    y = ops.expert_linear(x, ops.prepare("w", QTensor.dense(w)), experts)
    for i in range(7):
        for k in range(2):
            torch.testing.assert_close(y[i, k], w[experts[i, k]] @ x[i, 0], rtol=1e-5, atol=1e-5)


def test_heads_are_each_multiplied_by_their_own_matrix(ops):
    stack, x = rand(5, 24, 32), rand(17, 5, 40, seed=1)[..., :32]
    y = ops.head_linear(x, ops.prepare("w", QTensor.dense(stack)))
    torch.testing.assert_close(y, torch.einsum("nhi,hoi->nho", x, stack), rtol=1e-5, atol=1e-5)


def test_embedding_returns_rows(ops):
    w = rand(10, 32)
    assert torch.equal(ops.embedding(torch.tensor([3, 0, 3]), ops.prepare("w", QTensor.dense(w))), w[[3, 0, 3]])


def test_rms_norm_follows_its_formula(ops):
    x, weight = rand(3, 5), rand(5, seed=1)
    y = ops.rms_norm(x, Norm(weight, 1e-5))
    for row, out in zip(x.tolist(), y.tolist(), strict=True):
        rms = math.sqrt(sum(v * v for v in row) / 5 + 1e-5)
        assert out == pytest.approx([v / rms * w for v, w in zip(row, weight.tolist(), strict=True)], rel=1e-5)


def test_layer_norm_follows_its_formula(ops):
    x, weight, bias = rand(3, 5) + 2, rand(5, seed=1), rand(5, seed=2)
    y = ops.layer_norm(x, LayerNorm(weight, bias, 1e-5))
    for row, out in zip(x.tolist(), y.tolist(), strict=True):
        mean = sum(row) / 5
        deviation = math.sqrt(sum((v - mean) ** 2 for v in row) / 5 + 1e-5)
        parts = zip(row, weight.tolist(), bias.tolist(), strict=True)
        assert out == pytest.approx([(v - mean) / deviation * w + b for v, w, b in parts], rel=1e-4, abs=1e-5)


def test_activations_follow_their_formulas(ops):
    x = rand(3, 7) * 3
    formulas = {
        "silu": lambda v: v / (1 + math.exp(-v)),
        "gelu": lambda v: 0.5 * v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))),
        "gelu_erf": lambda v: 0.5 * v * (1 + math.erf(v / math.sqrt(2))),
    }
    for activation, formula in formulas.items():
        expected = torch.tensor([[formula(v) for v in row] for row in x.tolist()])
        torch.testing.assert_close(ops.activate(x, activation), expected)


@pytest.mark.parametrize("interleaved", [True, False])
def test_rope_turns_pairs_and_leaves_the_rest(ops, interleaved):
    positions, inv_freq = torch.tensor([0, 1, 1000]), torch.tensor([1.0, 0.1], dtype=torch.float64)
    cos, sin = ops.rope_angles(positions, inv_freq, 1.0)
    x = rand(3, 2, 6)
    y = rope(x, Rotation(cos, sin, interleaved))
    assert torch.equal(y[0], x[0])
    assert torch.equal(y[..., 4:], x[..., 4:])
    for i, frequency in enumerate(inv_freq.tolist()):
        a, b = (2 * i, 2 * i + 1) if interleaved else (i, i + 2)
        for n, position in enumerate(positions.tolist()):
            turned = torch.complex(x[n, :, a], x[n, :, b]) * complex(
                math.cos(position * frequency), math.sin(position * frequency)
            )
            torch.testing.assert_close(y[n, :, a], turned.real)
            torch.testing.assert_close(y[n, :, b], turned.imag)


@pytest.mark.parametrize("activation", ["silu", "gelu"])
def test_gated_activations_follow_their_formulas(ops, activation):
    gate, up = rand(3, 7), rand(3, 7, seed=1)
    if activation == "silu":
        expected = gate / (1 + torch.exp(-gate)) * up
    else:
        inner = math.sqrt(2 / math.pi) * (gate + 0.044715 * gate**3)
        expected = 0.5 * gate * (1 + torch.tanh(inner)) * up
    torch.testing.assert_close(ops.gated(gate, up, activation), expected)


def test_route_picks_the_best_experts_and_shares_sum_to_one(ops):
    logits = torch.tensor([[0.0, 3.0, 1.0, 2.0]])
    weights, experts = ops.route(logits, Routing(2))
    assert experts.tolist() == [[1, 3]]
    assert weights.sum().item() == pytest.approx(1.0)
    plain, _ = ops.route(logits, Routing(2, normalize=False))
    torch.testing.assert_close(plain[0], torch.softmax(logits, -1)[0, [1, 3]])


def test_route_takes_experts_of_the_best_groups_by_their_biased_scores():
    ops = open_ops("reference")
    logits = torch.tensor([[4.0, -4.0, 1.0, 1.0, 0.0, 0.0]])
    routing = Routing(2, "sigmoid", normalize=False, n_groups=3, n_groups_used=1)
    assert ops.route(logits, routing)[1].tolist() == [[2, 3]]
    weights, experts = ops.route(logits, routing, torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0, 2.0]))
    assert experts.tolist() == [[5, 4]]
    assert weights.tolist() == [[0.5, 0.5]]


def test_softcap_bends_towards_the_cap(ops):
    torch.testing.assert_close(ops.softcap(torch.tensor([1000.0, 0.0]), 30.0), torch.tensor([30.0, 0.0]))


@pytest.mark.parametrize(
    "spec",
    [
        AttentionSpec(0.2),
        AttentionSpec(0.2, window=1),
        AttentionSpec(0.2, window=33),
        AttentionSpec(0.5, softcap=5.0),
        AttentionSpec(0.2, chunk=100),
        AttentionSpec(0.2, slopes=torch.tensor([0.5, 0.25, 0.1, 0.05, 0.01, 0.0])),
        AttentionSpec(0.2, window=33, sinks=torch.tensor([0.0, 100.0, -100.0, 1.0, 2.0, 3.0])),
    ],
)
@pytest.mark.parametrize(("lengths", "new"), [([1], [1]), ([17, 600, 3], [1, 5, 3]), ([257, 256], [257, 1])])
def test_attention_equals_the_plain_formula_over_odd_lengths(ops, spec, lengths, new):
    paged = Paged(ops, lengths, new)
    out = ops.attention(torch.cat(paged.q), paged.k_cache, paged.v_cache, paged.layout, spec)
    expected = torch.cat([paged.plain(i, spec) for i in range(len(lengths))])
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("lengths", "new"), [([1, 530], [1, 1]), ([17, 300], [3, 280])])
def test_attention_to_values_that_the_keys_hold(ops, lengths, new):
    paged, spec = (
        Paged(ops, lengths, new, n_heads=8, n_kv_heads=1, shared_values=20),
        AttentionSpec(0.2, shared_values=20),
    )
    out = ops.attention(torch.cat(paged.q), paged.k_cache, paged.v_cache, paged.layout, spec)
    expected = torch.cat([paged.plain(i, spec) for i in range(2)])
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)


def test_queries_and_keys_may_be_normalised_after_they_are_turned(ops):
    norm, x = Norm(rand(32, seed=3), 1e-6), rand(3, 2, 32)
    rotation = Rotation(*ops.rope_angles(torch.tensor([0, 1, 5]), torch.rand(16, dtype=torch.float64), 1.0), False)
    paged = Paged(ops, [3], [3], n_heads=2)
    layout = replace(paged.layout, slots=torch.arange(3))
    caches = paged.k_cache, paged.v_cache
    turned = ops.rope_store(x, x, x, rotation, *caches, layout)
    both = ops.rope_store(x, x, x, rotation, *caches, layout, (norm, norm), True)
    torch.testing.assert_close(both, functional.rms_norm(turned, (32,), norm.weight, norm.eps))


@pytest.mark.parametrize("backend", ["reference", "reference-bf16"])
def test_a_row_is_the_same_bit_for_bit_in_any_batch(backend):
    ops = open_ops(backend)
    x = rand(64, 96)
    w = ops.prepare("w", QTensor.dense(rand(200, 96, seed=1)))
    whole = ops.linear(x, w)
    for n in range(1, 64):
        assert torch.equal(ops.linear(x[:n], w), whole[:n]), n


def test_attention_is_the_same_bit_for_bit_alone_and_in_a_batch_and_in_chunks(ops):
    spec = AttentionSpec(0.2)
    both = Paged(ops, [300, 40], [300, 40])
    out = ops.attention(torch.cat(both.q), both.k_cache, both.v_cache, both.layout, spec)
    for cut in (1, 3, 16, 299):
        layout = TokenLayout(
            both.layout.positions,
            both.layout.slots,
            torch.tensor([0, 300 - cut], dtype=torch.int32),
            both.layout.page_table[:1],
            torch.tensor([300], dtype=torch.int32),
            PAGE,
        )
        part = ops.attention(both.q[0][cut:], both.k_cache, both.v_cache, layout, spec)
        assert torch.equal(part, out[cut:300]), cut


def test_replay_runs_on_the_present_contents_of_the_inputs(ops):
    x = torch.ones(2, 3)
    graph = ops.capture(lambda: ops.scale(x, 2.0))
    x.fill_(5.0)
    assert torch.equal(graph.replay(), torch.full((2, 3), 10.0))


def test_explain_names_the_form_of_weights_and_the_functions(ops):
    w = ops.prepare("blk.0.attn_q.weight", QTensor(FORMATS["BF16"].encode(rand(4, 32)), FORMATS["BF16"]))
    ops.linear(rand(1, 32), w)
    text = ops.explain()
    assert "blk.0.attn_q.weight" in text
    assert "BF16" in text
    assert "dense-f32" in text
    assert any(line.split()[:3] == ["linear", "dense-f32", "reference"] for line in text.splitlines())


def test_an_unknown_backend_is_refused_by_name():
    with pytest.raises(ValueError, match="'fast' does not exist; known: auto"):
        open_ops("fast")
