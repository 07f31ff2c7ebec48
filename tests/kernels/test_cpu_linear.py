"""Packed weights on every level of the native kernels, against exact products."""

import pytest
import torch
from support.blocks import random_weight
from support.levels import LEVELS, open_level
from support.paged import rand

from gristmill.kernels import FORMATS, open_ops
from gristmill.kernels.specs import Norm, Projection

FLOATS = ("F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
N_TOKENS = (1, 2, 3, 5, 12, 13, 31, 33)


@pytest.fixture(params=LEVELS)
def ops(request):
    return open_level(request.param)


def shapes(name):
    """(rows, columns): one block and several, less and more than what is unpacked at once, rows around a panel."""
    block = FORMATS[name].block_elems
    return [(1, block), (31, block * 3), (33, max(block, 32) * (3 if block > 64 else 33))]


def rounded(x):
    """x as the products with quantized weights see it: int8 in blocks of 32."""
    blocks = x.unflatten(-1, (-1, 32))
    highest = blocks.abs().amax(-1, keepdim=True)
    codes = (blocks * (127.0 / highest)).round()
    return (codes * (highest / 127.0)).flatten(-2)


def relative_error(y, expected):
    return ((y.double() - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("name", list(FORMATS))
def test_products_are_exact_up_to_the_rounding_of_activations(ops, name):
    for rows, cols in shapes(name):
        weight = random_weight(name, rows, cols, seed=rows)
        x = rand(33, cols)
        y = ops.linear(x, ops.prepare("w", weight))
        seen = x if name in FLOATS else rounded(x)
        rounds_to_bf16 = name == "BF16" and ops.name == "cpu-avx512_bf16"
        limit = 5e-3 if rounds_to_bf16 else 3e-6
        assert relative_error(y, seen.double() @ weight.dequantize().double().T) < limit, (rows, cols)


@pytest.mark.parametrize("name", list(FORMATS))
def test_a_row_is_the_same_bit_for_bit_alone_and_in_any_batch(ops, name):
    rows, cols = shapes(name)[-1]
    w, x = ops.prepare("w", random_weight(name, rows, cols)), rand(33, cols)
    whole = ops.linear(x, w)
    for n in N_TOKENS:
        assert torch.equal(ops.linear(x[-n:], w), whole[-n:]), n


@pytest.mark.parametrize("name", list(FORMATS))
def test_embedding_returns_the_exact_rows(ops, name):
    rows, cols = shapes(name)[-1]
    weight = random_weight(name, rows, cols)
    ids = torch.tensor([0, rows - 1, 17, 17])
    assert torch.equal(ops.embedding(ids, ops.prepare("w", weight)), weight.dequantize()[ids])


@pytest.mark.skipif(len(LEVELS) < 2, reason="one level only")
@pytest.mark.parametrize("name", [n for n in FORMATS if n != "BF16"])
def test_all_levels_agree_bit_for_bit(name):
    rows, cols = shapes(name)[-1]
    weight, x = random_weight(name, rows, cols), rand(13, cols)
    results = []
    for level in LEVELS:
        ops = open_level(level)
        results.append(ops.linear(x, ops.prepare("w", weight)))
    assert all(torch.equal(result, results[0]) for result in results[1:])


def test_rows_that_are_no_number_stay_so(ops):
    w, x = ops.prepare("w", random_weight("Q4_0", 20, 64)), rand(3, 64)
    x[1, 40], x[2, 3] = float("nan"), float("inf")
    finite = ops.linear(x, w).isfinite().all(-1)
    assert finite.tolist() == [True, False, False]


@pytest.mark.parametrize("n", [1, 2, 3, 33, 500])
def test_what_is_fused_equals_its_parts(ops, n):
    formats = ("Q4_K", "Q6_K", "F32", "Q8_0")
    projections = [Projection(ops.prepare(f, random_weight(f, 40, 256, seed=i))) for i, f in enumerate(formats)]
    projections[1] = Projection(projections[1].weight, rand(40, seed=9))
    x, residual, norm = rand(n, 256, seed=1), rand(n, 40, seed=2), Norm(rand(256, seed=3), 1e-5)
    normed = ops.rms_norm(x, norm)
    parts = [ops.linear(normed, p.weight, bias=p.bias) for p in projections]
    for fused, part in zip(ops.linears(x, projections, norm), parts, strict=True):
        assert torch.equal(fused, part)
    added = ops.linear(x, projections[0].weight, norm=norm, residual=residual)
    assert torch.equal(added, ops.add(residual, parts[0]))
    for activation in ("silu", "gelu"):
        gated = ops.gated_linear(x, projections[0], projections[1], activation, norm)
        assert torch.equal(gated, ops.gated(parts[0], parts[1], activation))


def test_inputs_may_be_slices_of_wider_rows(ops):
    w, wide = ops.prepare("w", random_weight("Q5_1", 17, 64)), rand(5, 200)
    assert torch.equal(ops.linear(wide[:, 64:128], w), ops.linear(wide[:, 64:128].contiguous(), w))


@pytest.mark.parametrize("n", [1, 3, 40])
@pytest.mark.parametrize("name", ["F32", "Q4_K"])
def test_experts_serve_each_row_by_its_own_matrix(ops, n, name):
    weight = random_weight(name, 5 * 24, 256)
    stack = type(weight)(weight.data.reshape(5, 24, -1), weight.format)
    x, experts = rand(n, 1, 256), torch.tensor([[i % 5, (3 * i + 1) % 5] for i in range(n)])
    y = ops.expert_linear(x, ops.prepare("w", stack), experts)
    again = ops.expert_linear(x.expand(n, 2, 256).contiguous(), ops.prepare("w", stack), experts)
    assert torch.equal(y, again)
    for k in range(2):
        for i in range(n):
            alone = ops.linear(x[i], ops.prepare("e", type(weight)(stack.data[experts[i, k]], weight.format)))
            assert torch.equal(y[i, k], alone[0])


@pytest.mark.parametrize("n", [1, 3, 40])
@pytest.mark.parametrize("name", ["F32", "Q8_0"])
def test_heads_are_each_multiplied_by_their_own_matrix(ops, n, name):
    weight = random_weight(name, 5 * 24, 64)
    stack = type(weight)(weight.data.reshape(5, 24, -1), weight.format)
    x = rand(n, 5, 64 + 32)[..., :64]
    y = ops.head_linear(x, ops.prepare("w", stack))
    for head in range(5):
        alone = ops.prepare("w", type(weight)(stack.data[head], weight.format))
        assert torch.equal(y[:, head], ops.linear(x[:, head].contiguous(), alone))


def test_formats_of_a_researcher_work_without_a_kernel():
    ops, reference = open_level(None), open_ops("reference")
    weight, x = random_weight("F8_E4M3", 33, 50), rand(3, 50)
    expected = reference.linear(x, reference.prepare("w", weight))
    torch.testing.assert_close(ops.linear(x, ops.prepare("w", weight)), expected, rtol=1e-5, atol=1e-5)
