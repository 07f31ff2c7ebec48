"""Experts whose gate and up are stored as one matrix compute what they compute as two."""

from dataclasses import dataclass

import pytest
import torch
from support.in_memory import InMemory
from support.paged import rand

from gristmill.kernels import open_ops
from gristmill.kernels.specs import Routing
from gristmill.runtime.config import MoeConfig
from gristmill.runtime.layers import Experts
from gristmill.runtime.weights import Weights

N_EXPERTS, HIDDEN, FFN = 4, 64, 96


@dataclass(frozen=True)
class Config:
    hidden_size: int = HIDDEN
    moe: MoeConfig = MoeConfig(N_EXPERTS, FFN, 0, 0, Routing(2))  # noqa: RUF009 - it is frozen


@pytest.mark.parametrize("weighs_input", [False, True])
@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_one_matrix_is_as_two(backend, weighs_input):
    gate, up = (rand(N_EXPERTS, FFN, HIDDEN, seed=seed) for seed in (1, 2))
    down = {"blk.0.ffn_down_exps.weight": rand(N_EXPERTS, HIDDEN, FFN, seed=3)}
    apart = {"blk.0.ffn_gate_exps.weight": gate, "blk.0.ffn_up_exps.weight": up} | down
    joined = {"blk.0.ffn_gate_up_exps.weight": torch.cat([gate, up], dim=1)} | down
    x, chosen = rand(5, HIDDEN, seed=4), torch.tensor([[0, 1], [1, 3], [2, 0], [3, 2], [0, 3]])
    shares = torch.linspace(0.1, 1.0, 10).reshape(5, 2)
    found = []
    for values in (apart, joined):
        weights = Weights(InMemory(values), open_ops(backend))
        experts = Experts(weights, Config(), 0, "silu", weighs_input=weighs_input)
        found.append(experts(x, chosen, shares).clone())
    torch.testing.assert_close(found[1], found[0])
    expected = torch.zeros_like(x)
    for row, (experts_of_row, shares_of_row) in enumerate(zip(chosen, shares, strict=True)):
        for expert, share in zip(experts_of_row.tolist(), shares_of_row.tolist(), strict=True):
            given = x[row] * share if weighs_input else x[row]
            inner = torch.nn.functional.silu(gate[expert] @ given) * (up[expert] @ given)
            expected[row] += (down["blk.0.ffn_down_exps.weight"][expert] @ inner) * (1.0 if weighs_input else share)
    assert ((found[0] - expected).square().mean() / expected.square().mean()).item() < 1e-3
