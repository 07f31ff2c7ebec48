"""Operators on rows and elements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch.nn import functional

from ..specs import LayerNorm, Norm

OAI_LIMIT, OAI_STEEPNESS = 7.0, 1.702  # of gpt-oss (arXiv:2508.10925)


def rms_norm(x: torch.Tensor, norm: Norm, residual: torch.Tensor | None = None) -> torch.Tensor:
    y = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + norm.eps) * norm.weight
    return y if residual is None else residual + y


def layer_norm(x: torch.Tensor, norm: LayerNorm) -> torch.Tensor:
    centered = x - x.mean(-1, keepdim=True)
    return centered * torch.rsqrt(centered.square().mean(-1, keepdim=True) + norm.eps) * norm.weight + norm.bias


def add(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return x + y


def scale(x: torch.Tensor, factor: float | torch.Tensor) -> torch.Tensor:
    return x * factor


def softcap(x: torch.Tensor, cap: float) -> torch.Tensor:
    return torch.tanh(x / cap) * cap


def clamp(x: torch.Tensor, limit: float) -> torch.Tensor:
    return x.clamp(-limit, limit)


def gated(gate: torch.Tensor, up: torch.Tensor, activation: str) -> torch.Tensor:
    if activation == "oai_swiglu":
        bounded = gate.clamp(max=OAI_LIMIT)
        return bounded * torch.sigmoid(OAI_STEEPNESS * bounded) * (up.clamp(-OAI_LIMIT, OAI_LIMIT) + 1)
    return activate(gate, activation) * up


def activate(x: torch.Tensor, activation: str) -> torch.Tensor:
    return _ACTIVATIONS[activation](x)


_ACTIVATIONS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "silu": functional.silu,
    "gelu": partial(functional.gelu, approximate="tanh"),
    "gelu_erf": functional.gelu,
    "relu": functional.relu,
    "relu_sqr": lambda x: functional.relu(x).square(),
    "sigmoid": torch.sigmoid,
}


def concat(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.cat((x.expand(*y.shape[:2], x.shape[2]), y), dim=2)


def gather(x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    return x.index_select(0, rows)


def top_k(x: torch.Tensor, k: int, bits: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    x = x if bits is None else masked(x, bits)
    values, ids = torch.sort(x, descending=True, stable=True)  # topk leaves the order of equal ones open
    return values[:k], ids[:k]


def masked(x: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
    allowed = (bits[:, None] >> torch.arange(32, device=bits.device)) & 1
    return torch.where(allowed.flatten()[: len(x)] == 1, x, -torch.inf)
