import pytest
import torch

from gristmill.runtime.logprobs import LOWEST, token_logprob
from gristmill.runtime.params import Sampling
from gristmill.runtime.sampling import top_k


def logprob(logits, token, n=0):
    params = Sampling(logprobs=True, top_logprobs=n)
    return token_logprob(torch.tensor(logits), token, params, top_k=top_k, token_bytes=lambda i: bytes([65 + i]))


@pytest.mark.parametrize("n", [0, 1, 3, 20])
def test_logprobs_are_those_of_the_softmax_best_first(n):
    logits = [0.5, -1.0, 3.0, 3.0, 0.0]
    expected = torch.log_softmax(torch.tensor(logits), 0)
    entry = logprob(logits, 1, n)
    assert (entry.id, entry.data) == (1, b"B")
    assert entry.logprob == pytest.approx(float(expected[1]), abs=1e-6)
    assert [top.id for top in entry.top] == [2, 3, 0, 4, 1][:n]
    assert [top.logprob for top in entry.top] == pytest.approx(sorted(expected.tolist(), reverse=True)[:n], abs=1e-6)
    assert all(top.top == [] for top in entry.top)


def test_what_cannot_be_drawn_has_a_number_that_json_knows():
    entry = logprob([0.0, -float("inf")], 1, 2)
    assert entry.logprob == LOWEST
    assert [top.logprob for top in entry.top] == [0.0, LOWEST]
