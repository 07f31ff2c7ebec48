"""How far one model's predictions are from another's on a text: KL divergence, and how often the first choice differs.

The quantities are those of llama.cpp's ``--kl-divergence``: KL(reference || model) for each position, and the change
of the probability of the token that came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InvalidRequest
from .windows import Window, window_logits

if TYPE_CHECKING:
    import torch

    from ..model import Model

__all__ = ["PERCENTILES", "Divergence", "diverge"]

PERCENTILES = (1, 5, 25, 50, 75, 90, 95, 99, 99.9)


@dataclass(frozen=True)
class Divergence:
    """Of ``n_tokens`` positions. ``kl`` float64 (n_tokens,) in nats; ``p_change``: of the probability of the token that
    came, model minus reference; ``nll`` and ``reference_nll`` float64 (n_tokens,); ``same_top``: shares from 0 to 1.
    """

    kl: torch.Tensor
    p_change: torch.Tensor
    nll: torch.Tensor
    reference_nll: torch.Tensor
    same_top: float

    @property
    def n_tokens(self) -> int:
        return len(self.kl)

    def summary(self) -> dict[str, float]:
        """Every figure by name; ``kl_p99`` is the 99th percentile."""
        import torch

        ratio = (self.nll.mean() - self.reference_nll.mean()).exp().item()
        levels = torch.tensor([p / 100 for p in PERCENTILES], dtype=torch.float64)
        percentiles = torch.quantile(self.kl, levels).tolist()
        return {
            "perplexity": self.nll.mean().exp().item(),
            "reference_perplexity": self.reference_nll.mean().exp().item(),
            "perplexity_ratio": ratio,
            "kl_mean": self.kl.mean().item(),
            "kl_mean_error": (self.kl.std() / self.n_tokens**0.5).item(),
            "kl_max": self.kl.max().item(),
            **{f"kl_p{p}": value for p, value in zip(PERCENTILES, percentiles, strict=True)},
            "same_top": self.same_top,
            "p_change_mean": self.p_change.mean().item(),
            "p_change_rms": self.p_change.square().mean().sqrt().item(),
        }


def diverge(
    model: Model, reference: Model, windows: Iterable[Window], on_window: Callable[[int], None] = lambda n: None
) -> Divergence:
    """Both models read the same tokens side by side. Raises InvalidRequest where their vocabularies differ."""
    import torch

    if model.tokenizer.vocabulary.tokens != reference.tokenizer.vocabulary.tokens:
        raise InvalidRequest("the two models have different vocabularies: their predictions cannot be compared")
    parts: list[tuple[torch.Tensor, ...]] = []
    for i, window in enumerate(windows, 1):
        pairs = zip(window_logits(model, window), window_logits(reference, window), strict=True)
        parts += [_compare(mine, other, targets) for (targets, mine), (_, other) in pairs]
        on_window(i)
    kl, p_change, nll, reference_nll, same = (torch.cat(column) for column in zip(*parts, strict=True))
    return Divergence(kl, p_change, nll, reference_nll, same.to(torch.float64).mean().item())


def _compare(logits: torch.Tensor, reference: torch.Tensor, targets: list[int]) -> tuple[torch.Tensor, ...]:
    """(kl, p_change, nll, reference_nll, same_top), each (n,)."""
    log_q, log_p = (rows.double().log_softmax(-1) for rows in (logits, reference))
    kl = (log_p.exp() * (log_p - log_q)).sum(-1).clamp(min=0.0)  # rounding takes a zero below it
    came = range(len(targets)), targets
    nll, reference_nll = -log_q[came], -log_p[came]
    change = (-nll).exp() - (-reference_nll).exp()
    return kl, change, nll, reference_nll, logits.argmax(-1) == reference.argmax(-1)
