"""How the encoders of the IQ formats find their codes: the nearest entries of a grid, at the best scales.

An octet (8 elements) x with weights w becomes s * g, with g an entry of the grid (or two entries of 4 elements), and s
a scale that some octets share, a multiple of the block's. What the entry takes off the error of zeros is

    gain(s) = 2 s a - s^2 b    with    a = sum(w x g)    and    b = sum(w g^2)

and a and b do not depend on s. So the whole grid is searched: for scales that span all that could be wanted, the
best entry of each octet is kept (a "line"). Everything after that, which scale is best for the octets that share one
and which multiples for the block, asks only the few lines of an octet, and costs next to nothing.

Signs are those of x. Where a format wants an even number of minus signs in an octet, and x has an odd one, the element
that loses least by it is turned around, which is a part of the gain of an entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ..lazy import torch
from .grids import grid
from .search import block_weights, inverse, rounded_half

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 256
OCTETS = 32
STEPS = tuple(0.96 + 0.04 * i for i in range(8))  # block scales that are tried; with 1 the last multiple is the largest
_LINES = 16  # of an octet
_MANY = 16  # blocks at a time: the gains of all entries are in memory


@dataclass(frozen=True)
class Coding:
    """How a format uses a grid: x = d * unit * (2 * sc + 1) * (g + delta or g - delta) * sign.

    ``n_octets`` share sc, one of ``n_scales``. Without ``delta`` entries are magnitudes; with it they have signs of
    their own, and ``shares_delta`` says whether its sign belongs to a scale, or to each octet. ``is_even``: see above.
    The first scale that is tried makes the largest element ``first`` times the largest value of the grid, and each
    further one is ``ratio`` times the one before; but with the last one of magnitudes, it is the smallest value, for
    blocks whose elements are all of a size.
    """

    grid: str
    n_octets: int
    n_scales: int
    unit: float
    is_even: bool = False
    delta: float = 0.0
    shares_delta: bool = False
    first: float = 0.4
    ratio: float = 1.1134

    @property
    def n_samples(self) -> int:
        return _LINES // len(self.shifts)

    @property
    def shifts(self) -> tuple[float, ...]:
        return (self.delta, -self.delta) if self.delta else (0.0,)


class GridCodes(NamedTuple):
    """Of n blocks: ``d`` float32 (n, 1) as it is stored; int32 all else: ``scale`` (n, 32 / n_octets), ``index``
    (n, entries) into the grid, ``signs`` (n, 32) bit masks, ``is_down`` (n, 32) 1 where delta is taken off."""

    d: Tensor
    scale: Tensor
    index: Tensor
    signs: Tensor
    is_down: Tensor


class _Lines(NamedTuple):
    """``a`` and ``b`` float32 (n, subs, octets, choices, lines); ``index`` (n, subs, octets, choices * lines, entries
    of an octet). Octets that share a scale take the same one of the choices."""

    a: Tensor
    b: Tensor
    index: Tensor


def grid_codes(x: Tensor, importance: Tensor | None, coding: Coding) -> GridCodes:
    """x float32 (n, 256), importance of the same shape or None."""
    w = block_weights(x, importance, group=8)
    parts = [_block_codes(*part, coding) for part in zip(x.split(_MANY), w.split(_MANY), strict=True)]
    return GridCodes(*(torch.cat(fields) for fields in zip(*parts, strict=True)))


def _block_codes(x: Tensor, w: Tensor, coding: Coding) -> GridCodes:
    n, shape = len(x), (len(x), OCTETS // coding.n_octets, coding.n_octets, 8)
    x, w = x.reshape(shape), w.reshape(shape)
    minus = (x < 0).to(torch.int32)
    is_odd = minus.sum(-1) % 2 * int(coding.is_even)
    wx = w * (x if coding.delta else x.abs())
    sampled = _sampled_scales(x, coding)
    lines = _lines(wx, w, is_odd, sampled, coding)
    d, scale, picked = _scales(lines, sampled, coding)
    index = lines.index.take_along_dim(picked[..., None, None], 3)[..., 0, :]
    turned = (wx * grid(coding.grid, x.device)[index].reshape(shape)).argmin(-1)
    bits = torch.arange(8, device=x.device, dtype=torch.int32)
    signs = (minus << bits).sum(-1) ^ is_odd << turned
    fields = scale, index, signs, picked // coding.n_samples
    return GridCodes(d, *(field.reshape(n, -1).to(torch.int32) for field in fields))


def _sampled_scales(x: Tensor, coding: Coding) -> Tensor:
    """(n, subs, samples)"""
    entries = grid(coding.grid, x.device)
    highest = float(entries.max()) + coding.delta
    factors = [coding.first * coding.ratio**i / highest for i in range(coding.n_samples)]
    if not coding.delta:
        factors[-1] = 1 / float(entries.min())
    return x.abs().amax((-1, -2))[..., None] * torch.tensor(factors, device=x.device)


def _lines(wx: Tensor, w: Tensor, is_odd: Tensor, sampled: Tensor, coding: Coding) -> _Lines:
    entries = grid(coding.grid, wx.device)
    found = [_best_entries(wx, w, is_odd, sampled, shift, entries) for shift in coding.shifts]
    index = torch.stack(found, 3)  # (n, subs, octets, shifts, samples, entries of an octet)
    g = entries[index].flatten(-2) + torch.tensor(coding.shifts, device=wx.device)[:, None, None]
    wxg = wx[..., None, None, :] * g
    a = wxg.sum(-1) - 2 * is_odd[..., None, None] * wxg.amin(-1)
    b = (w[..., None, None, :] * g * g).sum(-1)
    choices = len(coding.shifts) if coding.shares_delta else 1
    a, b = (part.reshape(*part.shape[:3], choices, -1) for part in (a, b))
    return _Lines(a, b, index.flatten(3, 4))


def _best_entries(wx: Tensor, w: Tensor, is_odd: Tensor, scales: Tensor, shift: float, entries: Tensor) -> Tensor:
    """int64 (n, subs, octets, scales, entries of an octet): which entries have the largest gain at each scale."""
    size = entries.shape[1]
    wx, w = wx.unflatten(-1, (-1, size)), w.unflatten(-1, (-1, size))
    a, b = wx @ entries.T, w @ (entries * (entries + 2 * shift)).T
    turned = a - 2 * (wx[..., None, :] * entries).amin(-1) if is_odd.any() else a
    found = []
    for half in scales[:, :, None, None, None].unbind(-1):
        best, at = (a - half / 2 * b).max(-1)
        turned_best, turned_at = (turned - half / 2 * b).max(-1)
        # One element of an octet is turned, in that entry where less is lost by it.
        is_here = torch.zeros_like(at).scatter_(-1, (turned_best - best).argmax(-1, keepdim=True), 1)
        found.append(torch.where(is_here * is_odd[..., None] > 0, turned_at, at))
    return torch.stack(found, -2)


def _scales(lines: _Lines, sampled: Tensor, coding: Coding) -> tuple[Tensor, Tensor, Tensor]:
    """d (n, 1), scale (n, subs) and the number of the choice's line that each octet takes (n, subs, octets)."""
    wanted = _wanted_scales(lines, sampled)
    first = wanted.amax(1).clamp(min=0) / (2 * coding.n_scales - 1)
    trials = [(first * step, *_multiples(lines, wanted, first * step, coding)) for step in STEPS]
    d, gain, scale = (torch.stack(part) for part in zip(*trials, strict=True))
    best = gain.argmax(0, keepdim=True)
    d, scale = d.take_along_dim(best, 0)[0], scale.take_along_dim(best[..., None], 0)[0]
    multiple = 2 * scale + 1
    a, b, _ = _picked(lines, d[:, None] * multiple)
    solved = (multiple * a.sum(-1)).sum(1) * inverse((multiple.square() * b.sum(-1)).sum(1))
    stored = rounded_half(solved[:, None] / coding.unit)
    d = stored[:, 0] * coding.unit
    _, scale = _multiples(lines, wanted, d, coding)
    return stored, scale, _picked(lines, d[:, None] * (2 * scale + 1))[2]


def _wanted_scales(lines: _Lines, sampled: Tensor) -> Tensor:
    """(n, subs): for each sub-block the best of the ``sampled`` scales, and then that which its entries want."""
    gain = _gains(lines, sampled)[0]
    best = sampled.take_along_dim(gain.argmax(-1, keepdim=True), -1)[..., 0]
    a, b, _ = _picked(lines, best)
    return a.sum(-1) * inverse(b.sum(-1))


def _multiples(lines: _Lines, wanted: Tensor, d: Tensor, coding: Coding) -> tuple[Tensor, Tensor]:
    """With the block's scale d (n,), unit included: the gain (n,) and the scale codes (n, subs)."""
    nearest = ((wanted * inverse(d)[:, None] - 1) / 2).round()
    codes = torch.stack([(nearest + i).clamp(0, coding.n_scales - 1) for i in (-1, 0, 1)], -1)
    gain, at = _gains(lines, d[:, None, None] * (2 * codes + 1))[0].max(-1, keepdim=True)
    return gain.sum((1, 2)), codes.take_along_dim(at, -1)[..., 0]


def _gains(lines: _Lines, scales: Tensor) -> tuple[Tensor, Tensor]:
    """scales (n, subs, m) -> the gain of each sub-block (n, subs, m), and which line each octet takes for it."""
    s = scales[..., None, None, None]
    best, line = (s * (2 * lines.a[:, :, None] - s * lines.b[:, :, None])).max(-1)
    gain, choice = best.sum(3).max(-1)
    taken = line.take_along_dim(choice[..., None, None], -1)[..., 0]
    return gain, taken + choice[..., None] * lines.a.shape[-1]


def _picked(lines: _Lines, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For scales (n, subs): a and b of the line that each octet takes, and its number, all (n, subs, octets)."""
    picked = _gains(lines, scale[..., None])[1][:, :, 0]
    a, b = (part.flatten(3).take_along_dim(picked[..., None], 3)[..., 0] for part in lines[:2])
    return a, b, picked
