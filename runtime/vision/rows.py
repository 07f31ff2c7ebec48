"""The rows of pictures in a step: where they stand, and who sees whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from gristmill.kernels.layout import TokenLayout
from gristmill.kernels.specs import AttentionSpec

from .places import end_of, place_of


@dataclass(frozen=True)
class Features:
    """The rows of a sequence's squares, by digest: float32 (n_rows, hidden). ``both_sides`` as in ``Projector``."""

    rows: Mapping[int, torch.Tensor]
    both_sides: bool

    @property
    def n_rows(self) -> dict[int, int]:
        """Of each square."""
        return {digest: rows.shape[0] for digest, rows in self.rows.items()}


@dataclass(frozen=True)
class PictureRows:
    """``values`` float32 (m, hidden) stand in place of the embeddings of a step's tokens ``at``, int64 (m,).

    With a ``layout`` they see both sides: in it each square is a sequence of its own, over its sequence's pages up to
    the square's end.
    """

    at: torch.Tensor
    values: torch.Tensor
    layout: TokenLayout | None = None

    def put(self, x: torch.Tensor) -> torch.Tensor:
        """x (n_tokens, hidden) with the rows in their places."""
        return x.index_copy(0, self.at, self.values)


def seeing_all(spec: AttentionSpec) -> AttentionSpec:
    """``spec`` for rows that see both sides: what it saw before them, and all that is behind them in the square.

    A window, half of which is to either side without causality, reaches as far back as it did.
    """
    return replace(spec, causal=False, window=max(1, 2 * (spec.window - 1)) if spec.window else 0)


def picture_rows(
    tokens: Sequence[Sequence[int]], features: Sequence[Features | None], layout: TokenLayout
) -> PictureRows | None:
    """Of a step whose spans have these ``tokens`` and ``features``; None where no token is a picture's."""
    at: list[int] = []
    values: list[torch.Tensor] = []
    squares: list[tuple[int, int, int]] = []  # span, first row of the step, number of rows
    start, both_sides = 0, False
    for i, (ids, of_span) in enumerate(zip(tokens, features, strict=True)):
        place = 0
        while of_span is not None and place < len(ids):
            end = place + 1
            if ids[place] < 0:
                end = end_of(ids, place)
                digest, row = place_of(ids[place])
                at += range(start + place, start + end)
                values.append(of_span.rows[digest][row : row + end - place])
                squares.append((i, start + place, end - place))
                both_sides |= of_span.both_sides
            place = end
        start += len(ids)
    if not at:
        return None
    rows = torch.tensor(at, device=layout.positions.device)
    return PictureRows(rows, torch.cat(values), _layout_of(squares, rows, layout) if both_sides else None)


def _layout_of(squares: list[tuple[int, int, int]], rows: torch.Tensor, layout: TokenLayout) -> TokenLayout:
    device = rows.device
    spans = torch.tensor([span for span, _, _ in squares], device=device)
    lasts = torch.tensor([first + n - 1 for _, first, n in squares], device=device)
    starts = torch.tensor([0, *(n for _, _, n in squares)], dtype=torch.int32, device=device)
    return TokenLayout(
        positions=layout.positions[rows],
        slots=layout.slots[rows],
        seq_starts=starts.cumsum(0, dtype=torch.int32),
        page_table=layout.page_table[spans].contiguous(),
        context_lens=(layout.positions[lasts] + 1).to(torch.int32),
        page_size=layout.page_size,
    )
