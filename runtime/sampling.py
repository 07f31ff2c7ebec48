"""Draws the next token of one sequence from its logits, as llama.cpp's samplers do in Ollama's order.

logit bias, penalties, top_k, typical_p, top_p, min_p, temperature, draw. Each is a small function of its own; the
filters look at the softmax at temperature 1. Knows one row of logits at a time, so that what else is in a batch cannot
change what is drawn. Definitions follow llama.cpp, src/llama-sampling.cpp (commit 0344068).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import torch

from gristmill.kernels.reference.pointwise import top_k

from .errors import GristmillError
from .params import Sampling

TopK = Callable[[torch.Tensor, int, torch.Tensor | None], tuple[torch.Tensor, torch.Tensor]]


class Sampler:
    """The sampler of one sequence. It owns its random numbers, one for each token drawn.

    ``n_ctx`` is the window that ``repeat_last_n`` -1 means; ``top_k`` the operator of ``kernels.Ops``. Two samplers
    with the same parameters (and a seed other than -1) draw the same tokens from the same logits.
    """

    def __init__(self, params: Sampling, *, n_ctx: int, top_k: TopK = top_k):
        self._params, self._top_k = params, top_k
        self._window = n_ctx if params.repeat_last_n < 0 else params.repeat_last_n
        self._random = random.Random() if params.seed == -1 else random.Random(params.seed % (1 << 64))

    def __call__(self, logits: torch.Tensor, history: Sequence[int], bits: torch.Tensor | None = None) -> int:
        """The next token's id. ``logits``: (vocab,) float32 on any device, not changed. ``history``: prompt and output.

        ``bits`` are those of ``kernels.Ops.masked``: only tokens whose bit is set can be drawn.
        Raises GristmillError for logits that hold NaN, or no number above -Inf.
        """
        params = self._params
        if params.logit_bias:
            logits = biased(logits, params.logit_bias)
        if self._window and _penalizes(params):
            logits = penalized(logits, history[-self._window :], params)
        if params.temperature <= 0:
            values, ids = self._top_k(logits, 1, bits)
            _check(float(values[0]))
            return int(ids[0])
        k = params.top_k if 0 < params.top_k < len(logits) else len(logits)
        values, ids = self._top_k(logits, k, bits)
        _check(float(values[0]))
        values = _finite(values.cpu().double())
        kept = typical_p(values, params.typical_p)
        if kept is not None:
            values, ids = values[kept], ids[kept.to(ids.device)]
        values = min_p(top_p(values, params.top_p), params.min_p)
        return int(ids[draw(values, params.temperature, self._random.random())])


def biased(logits: torch.Tensor, bias: Mapping[int, float]) -> torch.Tensor:
    """A copy of ``logits`` (vocab,) with ``bias`` added at its ids; ids outside the vocabulary are ignored."""
    known = {token: value for token, value in bias.items() if 0 <= token < len(logits)}
    ids = torch.tensor(list(known), dtype=torch.int64, device=logits.device)
    values = torch.tensor(list(known.values()), dtype=logits.dtype, device=logits.device)
    return logits.index_add(0, ids, values)


def penalized(logits: torch.Tensor, window: Sequence[int], params: Sampling) -> torch.Tensor:
    """A copy of ``logits`` (vocab,), lowered at the tokens of ``window``.

    ``repeat_penalty`` divides what is above zero and multiplies the rest; then ``frequency_penalty`` is taken off
    for each time a token occurs, and ``presence_penalty`` once.
    """
    if not window:
        return logits
    counts = Counter(window)
    ids = torch.tensor(list(counts), device=logits.device)
    times = torch.tensor(list(counts.values()), dtype=logits.dtype, device=logits.device)
    values = logits[ids]
    values = torch.where(values > 0, values / params.repeat_penalty, values * params.repeat_penalty)
    values = values - times * params.frequency_penalty - params.presence_penalty
    return logits.index_put((ids,), values)


def typical_p(values: torch.Tensor, p: float) -> torch.Tensor | None:
    """Which candidates are locally typical: a mask (n,) bool, or None for all.

    Candidates are taken in the order of how far their surprise is from the distribution's entropy, until their
    probabilities add up to more than ``p`` (Meister et al., 2022, arXiv:2202.00666). ``values``: (n,) finite
    logits or -Inf, highest first.
    """
    if p >= 1:
        return None
    probabilities = torch.softmax(values, 0)
    surprise = -torch.log_softmax(values, 0)
    entropy = torch.special.entr(probabilities).sum()
    order = torch.argsort((surprise - entropy).abs(), stable=True)
    n_kept = _first(torch.cumsum(probabilities[order], 0) > p) + 1
    kept = torch.zeros(len(values), dtype=torch.bool)
    kept[order[:n_kept]] = True
    return kept


def top_p(values: torch.Tensor, p: float) -> torch.Tensor:
    """The smallest prefix of ``values`` (n,), highest first, whose probabilities add up to ``p``; at least one."""
    if p >= 1:
        return values
    return values[: _first(torch.cumsum(torch.softmax(values, 0), 0) >= p) + 1]


def min_p(values: torch.Tensor, p: float) -> torch.Tensor:
    """The prefix of ``values`` (n,), highest first, of at least ``p`` times the highest's probability; at least one."""
    if p <= 0:
        return values
    return values[: max(1, int((torch.exp(values - values[0]) >= p).sum()))]


def draw(values: torch.Tensor, temperature: float, number: float) -> int:
    """An index into ``values`` (n,), highest first: where ``number`` in [0, 1) falls on their summed softmax."""
    weights = torch.exp((values - values[0]) / temperature)
    sums = torch.cumsum(weights, 0)
    index = int(torch.searchsorted(sums, number * float(sums[-1]), right=True))
    # Rounding can put the number at the very end: then it is the last candidate that has any weight.
    return min(index, int(torch.searchsorted(sums, float(sums[-1]))))


def _penalizes(params: Sampling) -> bool:
    return params.repeat_penalty != 1 or params.frequency_penalty != 0 or params.presence_penalty != 0


def _check(highest: float) -> None:
    """Refuses logits by their highest value, as NaN sorts above all."""
    if highest != highest or highest == -torch.inf:
        raise GristmillError("model produced invalid logits")


def _finite(values: torch.Tensor) -> torch.Tensor:
    """``values`` for a softmax: where the highest is +Inf, those that are share the whole probability."""
    if values[0] != torch.inf:
        return values
    return torch.where(values == torch.inf, torch.zeros_like(values), torch.full_like(values, -torch.inf))


def _first(mask: torch.Tensor) -> int:
    """The index of the first True, or of the last element if there is none."""
    return int(mask.to(torch.uint8).argmax()) if bool(mask.any()) else len(mask) - 1
