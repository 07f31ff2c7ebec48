"""Perplexity: how many tokens, on average, a model is undecided between (Jelinek et al., 1977)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .windows import Window, window_logits

if TYPE_CHECKING:
    import torch

    from ..model import Model

__all__ = ["Perplexity", "perplexity", "target_nll"]

OnWindow = Callable[[int, "Perplexity"], None]


@dataclass(frozen=True)
class Perplexity:
    """``nll``: the mean negative log-likelihood of ``n_tokens`` tokens, in nats; ``nll_error`` its standard error."""

    n_tokens: int
    nll: float
    nll_error: float

    @property
    def value(self) -> float:
        """exp(nll)"""
        return math.exp(self.nll)

    @property
    def error(self) -> float:
        """To first order: value times ``nll_error``."""
        return self.value * self.nll_error


def perplexity(model: Model, windows: Iterable[Window], on_window: OnWindow = lambda n, so_far: None) -> Perplexity:
    """Of the tokens that count; ``on_window(n, so_far)`` is called after each window."""
    n, total, squares = 0, 0.0, 0.0
    result = Perplexity(0, math.nan, math.nan)
    for i, window in enumerate(windows, 1):
        for targets, logits in window_logits(model, window):
            nll = target_nll(logits, targets)
            n += len(targets)
            total += nll.sum().item()
            squares += nll.square().sum().item()
        mean = total / n
        variance = max(0.0, squares / n - mean * mean)
        result = Perplexity(n, mean, math.sqrt(variance / (n - 1)) if n > 1 else math.nan)
        on_window(i, result)
    return result


def target_nll(logits: torch.Tensor, targets: list[int]) -> torch.Tensor:
    """float64 (n,): minus the log-probability of each target under logits (n, n_vocab)."""
    import torch

    rows = logits.to(torch.float64)
    return rows.logsumexp(-1) - rows[torch.arange(len(targets)), torch.tensor(targets)]
