"""Draws the next token of one sequence from its logits, as llama.cpp's samplers do in Ollama's order.

logit bias, penalties, top_k, typical_p, top_p, min_p, temperature, draw. Each is a small function of its own; the
filters look at the softmax at temperature 1. Knows one row of logits at a time, so that what else is in a batch cannot
change what is drawn. Definitions follow llama.cpp, src/llama-sampling.cpp (commit 0344068).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from gristmill.kernels.reference.pointwise import top_k

from .errors import GristmillError
from .params import Sampling

Values = npt.NDArray[np.float64]
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
            best, place = self._top_k(logits, 1, bits)
            _check(float(best[0]))
            return int(place[0])
        k = params.top_k if 0 < params.top_k < len(logits) else len(logits)
        highest, places = self._top_k(logits, k, bits)
        # From here on through numpy: for 40 numbers, each of its steps takes a fraction of what torch's takes.
        values, ids = highest.cpu().numpy().astype(np.float64), places.cpu().numpy()
        _check(values[0])
        values = _finite(values)
        kept = typical_p(values, params.typical_p)
        if kept is not None:
            values, ids = values[kept], ids[kept]
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


def typical_p(values: Values, p: float) -> npt.NDArray[np.bool_] | None:
    """Which candidates are locally typical: a mask (n,), or None for all.

    Candidates are taken in the order of how far their surprise is from the distribution's entropy, until their
    probabilities add up to more than ``p`` (Meister et al., 2022, arXiv:2202.00666). ``values``: (n,) finite
    logits or -Inf, highest first.
    """
    if p >= 1:
        return None
    probabilities = _softmax(values)
    with np.errstate(divide="ignore"):
        surprise = -np.log(probabilities)
    entropy = np.sum(probabilities * np.where(probabilities > 0, surprise, 0.0))
    order = np.argsort(np.abs(surprise - entropy), kind="stable")
    n_kept = _first(np.cumsum(probabilities[order]) > p) + 1
    kept = np.zeros(len(values), dtype=np.bool_)
    kept[order[:n_kept]] = True
    return kept


def top_p(values: Values, p: float) -> Values:
    """The smallest prefix of ``values`` (n,), highest first, whose probabilities add up to ``p``; at least one."""
    if p >= 1:
        return values
    return values[: _first(np.cumsum(_softmax(values)) >= p) + 1]


def min_p(values: Values, p: float) -> Values:
    """The prefix of ``values`` (n,), highest first, of at least ``p`` times the highest's probability; at least one."""
    if p <= 0:
        return values
    return values[: max(1, int(np.count_nonzero(np.exp(values - values[0]) >= p)))]


def draw(values: Values, temperature: float, number: float) -> int:
    """An index into ``values`` (n,), highest first: where ``number`` in [0, 1) falls on their summed softmax."""
    with np.errstate(over="ignore"):  # a tiny temperature: -Inf is right
        sums = np.cumsum(np.exp((values - values[0]) / temperature))
    index = int(np.searchsorted(sums, number * sums[-1], side="right"))
    # Rounding can put the number at the very end: then it is the last candidate that has any weight.
    return min(index, int(np.searchsorted(sums, sums[-1])))


def _softmax(values: Values) -> Values:
    weights = np.exp(values - values[0])
    return np.asarray(weights / np.sum(weights))


def _penalizes(params: Sampling) -> bool:
    return params.repeat_penalty != 1 or params.frequency_penalty != 0 or params.presence_penalty != 0


def _check(highest: float) -> None:
    """Refuses logits by their highest value, as NaN sorts above all."""
    if highest != highest or highest == -torch.inf:
        raise GristmillError("model produced invalid logits")


def _finite(values: Values) -> Values:
    """``values`` for a softmax: where the highest is +Inf, those that are share the whole probability."""
    if values[0] != np.inf:
        return values
    return np.where(values == np.inf, 0.0, -np.inf)


def _first(mask: npt.NDArray[np.bool_]) -> int:
    """The index of the first True, or of the last element if there is none."""
    return int(np.argmax(mask)) if mask.any() else len(mask) - 1
