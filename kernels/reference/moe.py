"""Routing tokens to experts and adding up what the experts say."""

from __future__ import annotations

import torch

from ..specs import Routing


def route(
    logits: torch.Tensor, routing: Routing, bias: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    scores = _gates(logits, routing.gating)
    rank = scores if bias is None else scores + bias
    if routing.n_groups > 1:
        rank = _only_best_groups(rank, routing)
    # topk leaves the order of equal ones open
    experts = torch.sort(rank, dim=-1, descending=True, stable=True).indices[:, : routing.n_used]
    weights = scores.gather(1, experts)
    if routing.gating == "softmax-of-chosen":
        weights = _softmax(weights)
    elif routing.normalize:
        weights = weights / weights.sum(dim=-1, keepdim=True)
    return weights * routing.scale, experts


def _gates(logits: torch.Tensor, gating: str) -> torch.Tensor:
    """A probability for each expert, or for ``softmax-of-chosen`` the logits themselves."""
    if gating == "softmax":
        return _softmax(logits)
    return torch.sigmoid(logits) if gating == "sigmoid" else logits


def _softmax(x: torch.Tensor) -> torch.Tensor:
    return torch.softmax(x, dim=-1)


def _only_best_groups(rank: torch.Tensor, routing: Routing) -> torch.Tensor:
    groups = rank.reshape(len(rank), routing.n_groups, -1)
    sums = groups.sort(dim=-1, descending=True).values[..., :2].sum(dim=-1)
    best = torch.sort(sums, dim=-1, descending=True, stable=True).indices[:, : routing.n_groups_used]
    chosen = torch.zeros_like(sums, dtype=torch.bool).scatter(1, best, True)
    return torch.where(chosen[..., None], groups, -torch.inf).flatten(1)


def combine(y: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    total = y[:, 0] * weights[:, 0, None]
    for k in range(1, y.shape[1]):
        total = total + y[:, k] * weights[:, k, None]
    return total
