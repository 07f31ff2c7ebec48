"""Routing tokens to experts and adding up what the experts say."""

from __future__ import annotations

import torch


def route(logits: torch.Tensor, n_used: int, normalize: bool) -> tuple[torch.Tensor, torch.Tensor]:
    probabilities = torch.softmax(logits, dim=-1)
    weights, experts = probabilities.topk(n_used, dim=-1)
    if normalize:
        weights = weights / weights.sum(dim=-1, keepdim=True)
    return weights, experts


def combine(y: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    total = y[:, 0] * weights[:, 0, None]
    for k in range(1, y.shape[1]):
        total = total + y[:, k] * weights[:, k, None]
    return total
