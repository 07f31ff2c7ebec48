"""Rotary position embedding (Su et al., arXiv:2104.09864)."""

from __future__ import annotations

import torch

from ..specs import Rotation


def rope_angles(positions: torch.Tensor, inv_freq: torch.Tensor, magnitude: float) -> tuple[torch.Tensor, torch.Tensor]:
    # float64: at position 100,000 a float32 angle is already off by 0.004 radians.
    angles = positions.to(torch.float64)[:, None] * inv_freq[None, :]
    return (angles.cos() * magnitude).to(torch.float32), (angles.sin() * magnitude).to(torch.float32)


def rope(x: torch.Tensor, rotation: Rotation) -> torch.Tensor:
    """x (n, n_heads, head_dim), turned."""
    half = rotation.cos.shape[1]
    cos, sin = rotation.cos[:, None, :], rotation.sin[:, None, :]
    turned, rest = x[..., : 2 * half], x[..., 2 * half :]
    if rotation.interleaved:
        a, b = turned[..., 0::2], turned[..., 1::2]
        turned = torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(-2)
    else:
        a, b = turned[..., :half], turned[..., half:]
        turned = torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)
    return torch.cat((turned, rest), dim=-1) if rest.shape[-1] else turned
