"""The sampler against a slow twin in plain Python, and the promises about seeds, ties and odd values."""

from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.runtime.errors import GristmillError
from gristmill.runtime.params import Sampling
from gristmill.runtime.sampling import Sampler, draw, min_p, penalized, top_k, top_p, typical_p

INF = math.inf
SIZES = (1, 2, 31, 33, 1000)

rows = st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=40)
shares = st.floats(-0.5, 1.5)


# The slow twin: candidates are (logit, id) pairs, highest first, ids break ties.


def softmax(values: list[float]) -> list[float]:
    weights = [math.exp(value - max(values)) for value in values]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def slow_penalties(logits: list[float], window: list[int], params: Sampling) -> list[float]:
    logits = list(logits)
    for token, n in Counter(window).items():
        x = logits[token]
        x = x / params.repeat_penalty if x > 0 else x * params.repeat_penalty
        logits[token] = x - n * params.frequency_penalty - params.presence_penalty
    return logits


def slow_prefix(shares: list[float], enough) -> int:
    total = 0.0
    for i, share in enumerate(shares):
        total += share
        if enough(total):
            return i + 1
    return len(shares)


def slow_typical(pairs, p):
    if p >= 1:
        return pairs
    shares = softmax([value for value, _ in pairs])
    entropy = -math.fsum(share * math.log(share) for share in shares if share)
    far = [abs(-math.log(share) - entropy) if share else INF for share in shares]
    order = sorted(range(len(pairs)), key=lambda i: far[i])
    n = slow_prefix([shares[i] for i in order], lambda total: total > p)
    return [pairs[i] for i in sorted(order[:n])]


def slow_top_p(pairs, p):
    if p >= 1:
        return pairs
    return pairs[: slow_prefix(softmax([value for value, _ in pairs]), lambda total: total >= p)]


def slow_min_p(pairs, p):
    shares = softmax([value for value, _ in pairs])
    return [pair for pair, share in zip(pairs, shares, strict=True) if share >= p * shares[0]] or pairs[:1]


def slow_sample(logits: list[float], history: list[int], params: Sampling, n_ctx: int, number: float) -> int:
    window = n_ctx if params.repeat_last_n < 0 else params.repeat_last_n
    logits = slow_penalties(logits, history[-window:] if window else [], params)
    pairs = sorted(((x, i) for i, x in enumerate(logits)), key=lambda pair: (-pair[0], pair[1]))
    if params.temperature <= 0:
        return pairs[0][1]
    pairs = pairs[: params.top_k] if params.top_k > 0 else pairs
    pairs = slow_min_p(slow_top_p(slow_typical(pairs, params.typical_p), params.top_p), params.min_p)
    shares = softmax([value / params.temperature for value, _ in pairs])
    return pairs[slow_prefix(shares, lambda total: total > number) - 1][1]


def row(size: int, seed: int = 0) -> list[float]:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(size, generator=generator) * 3).tolist()


def sorted_row(values: list[float]) -> np.ndarray:
    return np.array(sorted(values, reverse=True), dtype=np.float64)


VARIANTS = [
    {},
    {"temperature": 0.0},
    {"temperature": -1.0},
    {"temperature": 1.7, "top_k": 0, "top_p": 1.0},
    {"top_k": 1},
    {"top_k": 5, "top_p": 0.5},
    {"top_k": 0, "top_p": 0.3},
    {"top_k": 10**6, "top_p": 0.0},
    {"top_k": 0, "top_p": 1.0, "min_p": 0.1},
    {"top_k": 0, "top_p": 1.0, "min_p": 2.0},
    {"top_k": 20, "typical_p": 0.4, "top_p": 0.9, "min_p": 0.05},
    {"top_k": -3, "typical_p": 0.9},
    {"repeat_penalty": 1.3, "presence_penalty": 0.7, "frequency_penalty": 0.4},
    {"repeat_penalty": 1.3, "repeat_last_n": 0, "temperature": 0.0},
    {"repeat_penalty": 5.0, "repeat_last_n": -1, "temperature": 0.0},
    {"frequency_penalty": 2.0, "repeat_last_n": 3, "temperature": 0.0},
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_the_sampler_draws_what_the_slow_twin_draws(variant, size):
    params = Sampling(seed=7, **variant)
    sampler, numbers = Sampler(params, n_ctx=16), random.Random(7)
    history = [i * i % size for i in range(5)]
    for step in range(20):
        logits = row(size, step)
        number = numbers.random() if params.temperature > 0 else 0.0
        token = sampler(torch.tensor(logits), history)
        assert token == slow_sample(logits, history, params, 16, number)
        history.append(token)


@settings(deadline=None)
@given(rows, shares)
def test_top_p_keeps_the_smallest_prefix_that_reaches_p(values, p):
    candidates = sorted_row(values)
    n = len(top_p(candidates, p))
    share = softmax(candidates.tolist())
    assert 1 <= n <= len(values)
    assert n == len(values) or math.fsum(share[:n]) >= p - 1e-9
    assert n == 1 or math.fsum(share[: n - 1]) <= p + 1e-9


@settings(deadline=None)
@given(rows, shares)
def test_min_p_keeps_what_is_likely_enough_beside_the_best(values, p):
    candidates = sorted_row(values)
    n = len(min_p(candidates, p))
    share = softmax(candidates.tolist())
    assert n >= 1
    assert all(x >= p * share[0] - 1e-9 for x in share[1:n])
    assert all(x <= p * share[0] + 1e-9 for x in share[n:])


@settings(deadline=None)
@given(rows, shares)
def test_typical_p_keeps_the_least_surprising_until_they_pass_p(values, p):
    candidates = sorted_row(values)
    mask = typical_p(candidates, p)
    if p >= 1:
        assert mask is None
        return
    share = softmax(candidates.tolist())
    entropy = -math.fsum(x * math.log(x) for x in share if x)
    far = [abs(-math.log(x) - entropy) for x in share]
    kept = [i for i in range(len(share)) if mask[i]]
    dropped = [i for i in range(len(share)) if not mask[i]]
    assert kept
    assert not dropped or max(far[i] for i in kept) <= min(far[i] for i in dropped) + 1e-9
    assert not dropped or math.fsum(share[i] for i in kept) > p - 1e-9
    least = min(share[i] for i in kept if far[i] >= max(far[j] for j in kept) - 1e-9)
    assert len(kept) == 1 or math.fsum(share[i] for i in kept) - least <= p + 1e-9 or least < 1e-9


@settings(deadline=None)
@given(rows, st.integers(-2, 50))
def test_top_k_keeps_the_highest_in_order(values, k):
    logits = torch.tensor(values)
    k = k if 0 < k < len(values) else len(values)
    kept, ids = top_k(logits, k)
    assert kept.tolist() == sorted(logits.tolist(), reverse=True)[:k]
    assert logits[ids].tolist() == kept.tolist()
    assert len(set(ids.tolist())) == len(ids)


@settings(deadline=None)
@given(rows, st.data())
def test_penalties_match_the_slow_twin_and_leave_the_row_alone(values, data):
    window = data.draw(st.lists(st.integers(0, len(values) - 1), max_size=30))
    number = st.floats(-2, 2, width=32)
    params = Sampling(
        repeat_penalty=data.draw(st.floats(0.5, 2, width=32)),
        frequency_penalty=data.draw(number),
        presence_penalty=data.draw(number),
    )
    logits = torch.tensor(values)
    result = penalized(logits, window, params)
    assert logits.tolist() == torch.tensor(values).tolist()
    assert result.tolist() == pytest.approx(slow_penalties(values, window, params), rel=1e-5, abs=1e-4)


def test_repeat_penalty_always_lowers():
    logits = torch.tensor([2.0, -2.0, 0.0, 3.0])
    assert penalized(logits, [0, 1, 2], Sampling(repeat_penalty=2.0)).tolist() == [1.0, -4.0, 0.0, 3.0]


def test_frequency_counts_and_presence_does_not():
    params = Sampling(frequency_penalty=0.5, presence_penalty=0.25)
    assert penalized(torch.zeros(3), [1, 1, 1, 2], params).tolist() == [0.0, -1.75, -0.75]


def test_the_window_is_the_last_tokens_prompt_included():
    params = Sampling(temperature=0, repeat_penalty=10.0, repeat_last_n=2)
    logits = torch.tensor([5.0, 4.0, 3.0, 2.0])
    assert Sampler(params, n_ctx=9)(logits, [0, 1, 2]) == 0
    assert Sampler(params, n_ctx=9)(logits, [2, 1, 0]) == 2


def test_greedy_takes_the_lowest_id_among_equals():
    logits = torch.tensor([1.0, 3.0, 3.0, 3.0])
    assert Sampler(Sampling(temperature=0), n_ctx=8)(logits, []) == 1
    logits = torch.zeros(262_144)
    logits[[70_001, 200_000]] = 1
    assert Sampler(Sampling(temperature=0), n_ctx=8)(logits, []) == 70_001


def test_the_same_seed_draws_the_same_and_another_seed_does_not():
    def drawn(seed: int) -> list[int]:
        sampler = Sampler(Sampling(seed=seed, temperature=1.5, top_k=0, top_p=1.0), n_ctx=8)
        return [sampler(torch.zeros(1000), []) for _ in range(20)]

    assert drawn(0) == drawn(0)
    assert drawn(-7) == drawn(-7)
    assert len({tuple(drawn(seed)) for seed in (0, 1, -7, 7, 1 << 40, -1, -1)}) == 7


def test_a_sampler_is_not_moved_by_others():
    params = Sampling(seed=3, temperature=1.0)
    logits = [torch.tensor(row(50, step)) for step in range(20)]
    alone = Sampler(params, n_ctx=8)
    expected = [alone(x, []) for x in logits]
    one, other = Sampler(params, n_ctx=8), Sampler(Sampling(seed=4), n_ctx=8)
    mixed = []
    for x in logits:
        other(x, [])
        mixed.append(one(x, []))
        random.random()
        torch.rand(1)
    assert mixed == expected


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_softmax(temperature):
    logits = [2.0, 1.0, 0.0, -1.0, -INF]
    sampler = Sampler(Sampling(seed=11, temperature=temperature, top_k=0, top_p=1.0), n_ctx=8)
    n = 4000
    counts = Counter(sampler(torch.tensor(logits), []) for _ in range(n))
    expected = softmax([x / temperature for x in logits])
    assert counts[4] == 0
    chi_squared = sum((counts[i] - n * p) ** 2 / (n * p) for i, p in enumerate(expected) if p)
    assert chi_squared < 16.27  # 3 degrees of freedom, 0.1 %


@settings(deadline=None)
@given(rows, st.floats(0, 1, exclude_max=True), st.floats(1e-3, 100))
def test_a_draw_lands_on_a_candidate_with_weight(values, number, temperature):
    candidates = sorted_row([*values, -INF])
    index = draw(candidates, temperature, number)
    assert math.exp((float(candidates[index]) - max(values)) / temperature) > 0


def test_draws_at_the_ends_stay_inside():
    candidates = sorted_row([0.0, 0.0, -INF, -INF])
    assert draw(candidates, 1.0, 0.0) == 0
    assert draw(candidates, 1.0, math.nextafter(1.0, 0.0)) == 1


@pytest.mark.parametrize("temperature", [1e-30, 5e-324])
def test_a_tiny_temperature_is_greedy(temperature):
    sampler = Sampler(Sampling(seed=1, temperature=temperature), n_ctx=8)
    assert {sampler(torch.tensor([1.0, 2.0, 1.9999]), []) for _ in range(20)} == {1}


@pytest.mark.parametrize("variant", [*VARIANTS[:4], {"top_k": 2}, {"typical_p": 0.5}], ids=str)
@pytest.mark.parametrize("bad", [[1.0, math.nan, 2.0], [math.nan] * 3, [-INF] * 3, [INF, math.nan, -INF]])
def test_invalid_logits_are_an_error(variant, bad):
    with pytest.raises(GristmillError, match="model produced invalid logits"):
        Sampler(Sampling(**variant), n_ctx=8)(torch.tensor(bad), [0])


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_infinite_logits_are_certain_or_impossible(variant):
    sampler = Sampler(Sampling(seed=5, **variant), n_ctx=8)
    assert {sampler(torch.tensor([-INF, 3.0, INF, INF, -INF]), []) for _ in range(30)} <= {2, 3}
    assert {sampler(torch.tensor([-INF, 3.0, -INF]), []) for _ in range(30)} == {1}


@settings(deadline=None, max_examples=200)
@given(
    rows,
    st.builds(
        Sampling,
        temperature=st.floats(-1, 5),
        top_k=st.integers(-2, 60),
        top_p=shares,
        min_p=shares,
        typical_p=shares,
        repeat_last_n=st.integers(-1, 8),
        repeat_penalty=st.floats(-1, 3),
        presence_penalty=st.floats(-3, 3),
        frequency_penalty=st.floats(-3, 3),
        seed=st.integers(-(1 << 63), (1 << 63) - 1),
    ),
    st.data(),
)
def test_any_options_give_a_token_or_our_error(values, params, data):
    history = data.draw(st.lists(st.integers(0, len(values) - 1), max_size=12))
    try:
        token = Sampler(params, n_ctx=8)(torch.tensor(values), history)
    except GristmillError:
        assert params.repeat_penalty <= 0  # such a penalty can make infinities of any sign
    else:
        assert 0 <= token < len(values)
