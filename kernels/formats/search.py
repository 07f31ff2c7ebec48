"""Searches for the scales of blocks: what the encoders of several formats share.

All minimise a weighted sum of squared errors over blocks (n, m) with weights w (n, m): a few dozen candidates are
tried, and for each the codes that it gives are held while the scale is solved for by least squares. That is how GGML's
encoders search (ggml-quants.c, make_qx_quants and make_qkx3_quants); the last step is ours: of the stored, rounded
scales, the neighbours are tried as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..lazy import torch

if TYPE_CHECKING:
    Rounding = Callable[[torch.Tensor], torch.Tensor]

_TINY = 1e-30
SHIFTS = (0.25, 0.5, 0.75, 1.0)


def block_weights(x: torch.Tensor, importance: torch.Tensor | None, *, group: int) -> torch.Tensor:
    """The weight of each element of x (n, m): all the same, or by the importance of its column and by how large it is
    against the others of its ``group`` of elements."""
    if importance is None:
        return torch.ones_like(x)
    squares = x.reshape(len(x), -1, group).square()
    spread = 2 * squares.mean((1, 2), keepdim=True)
    return importance * (spread + squares).sqrt().reshape(x.shape)


def symmetric_scale(x: torch.Tensor, w: torch.Tensor, low: int, high: int) -> torch.Tensor:
    """d (n, 1) of x (n, m) ~ d * q, q from ``low`` (below zero) to ``high``."""
    return code_scale(x, w, lambda y: y.round().clamp(low, high), [low + 0.5 * i for i in range(-5, 6)])


def code_scale(x: torch.Tensor, w: torch.Tensor, nearest: Rounding, ends: Iterable[float]) -> torch.Tensor:
    """d (n, 1) of x (n, m) ~ d * nearest(x / d); the candidates make the largest element one of ``ends``."""
    extreme = x.gather(1, x.abs().argmax(dim=1, keepdim=True))
    best, score = torch.zeros_like(extreme), torch.zeros_like(extreme)
    wx = w * x
    for end in ends:
        for sign in (1.0, -1.0):
            d = sign * extreme / end
            q = nearest(x * inverse(d))
            xq, qq = (wx * q).sum(1, keepdim=True), (w * q * q).sum(1, keepdim=True)
            gain = xq * xq * inverse(qq)  # by how much the error is below that of all zeros
            better = gain > score
            best, score = torch.where(better, xq * inverse(qq), best), torch.where(better, gain, score)
    return best


def affine_scale(
    x: torch.Tensor, w: torch.Tensor, high: int, *, span: tuple[float, float, int], floor_at_zero: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """d and m (n, 1) of x (n, m) ~ d * q + m, q from 0 to ``high``; with ``floor_at_zero``, m is not above 0.

    ``span`` (first, step, n): the candidates divide the range of x into high + first + step * i parts.
    """
    low, top = x.amin(1, keepdim=True), x.amax(1, keepdim=True)
    if floor_at_zero:
        low = low.clamp(max=0.0)
    sums = w.sum(1, keepdim=True), (w * x).sum(1, keepdim=True)
    best_d, best_m = (top - low) / high, low
    q = ((x - low) * inverse(best_d)).round().clamp(0, high)
    error = _error(x, w, best_d * q + best_m)
    first, step, n = span
    trials = [((x - low) * ((high + first + step * i) * inverse(top - low))) for i in range(n)]
    # A block of one large and many small elements wants a level where the small ones are.
    trials += [(x - low) * inverse(best_d) + shift for shift in SHIFTS]
    for scaled in trials:
        q = scaled.round().clamp(0, high)
        for _ in range(2):  # the codes may be others under the solved scale
            d, m = _solve(x, w, q, sums, floor_at_zero=floor_at_zero)
            trial_error = _error(x, w, d * q + m)
            better = (trial_error < error) & (d > 0)
            best_d, best_m = torch.where(better, d, best_d), torch.where(better, m, best_m)
            error = torch.where(better, trial_error, error)
            q = ((x - m) * inverse(d)).round().clamp(0, high)
    return best_d, best_m


def _solve(
    x: torch.Tensor, w: torch.Tensor, q: torch.Tensor, sums: tuple[torch.Tensor, torch.Tensor], *, floor_at_zero: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Least squares for d and m with the codes held."""
    weight, wx = sums
    wq, wqq, wxq = ((w * value).sum(1, keepdim=True) for value in (q, q * q, q * x))
    determinant = weight * wqq - wq * wq
    d = (weight * wxq - wx * wq) * inverse(determinant)
    m = (wqq * wx - wq * wxq) * inverse(determinant)
    if floor_at_zero:
        d, m = torch.where(m > 0, wxq * inverse(wqq), d), m.clamp(max=0.0)
    return d, m


def best_neighbours(
    x: torch.Tensor,
    w: torch.Tensor,
    codes: list[torch.Tensor],
    limits: list[tuple[int, int]],
    made: Callable[..., torch.Tensor],
) -> list[torch.Tensor]:
    """Of stored scale ``codes``, each (n, 1), those up to one away with which ``made(*codes)``, the decoded block
    (n, m), is nearest to x."""
    best = codes
    error = _error(x, w, made(*codes))
    for offsets in _offsets(len(codes)):
        trial = [(c + o).clamp(*limit) for c, o, limit in zip(codes, offsets, limits, strict=True)]
        trial_error = _error(x, w, made(*trial))
        better = trial_error < error
        best = [torch.where(better, t, b) for t, b in zip(trial, best, strict=True)]
        error = torch.where(better, trial_error, error)
    return best


def _offsets(n: int) -> list[tuple[int, ...]]:
    steps: list[tuple[int, ...]] = [()]
    for _ in range(n):
        steps = [(*step, o) for step in steps for o in (-1, 0, 1)]
    return [step for step in steps if any(step)]


def _error(x: torch.Tensor, w: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (w * (x - y).square()).sum(1, keepdim=True)


def inverse(d: torch.Tensor) -> torch.Tensor:
    """1 / d, and 0 where d is too small for that."""
    return torch.where(d.abs() < _TINY, torch.zeros_like(d), 1.0 / torch.where(d.abs() < _TINY, torch.ones_like(d), d))


def rounded_half(d: torch.Tensor) -> torch.Tensor:
    """d as it is stored, in float16."""
    return d.to(torch.float16).to(torch.float32)
