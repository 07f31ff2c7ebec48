"""Sequences whose pictures must be looked at before they can run, and what was seen lately."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator
from typing import TYPE_CHECKING

import torch

from .rows import Features

if TYPE_CHECKING:
    from ..sequence import Sequence
    from .sight import Vision

MAX_KEPT_BYTES = 64 << 20


class WaitingRoom:
    """First come, first served. ``step`` does a little, so that running streams go on meanwhile.

    Rows of squares seen lately are kept, up to ``max_bytes``: a conversation shows its pictures in every turn.
    """

    def __init__(self, vision: Vision | None, max_bytes: int = MAX_KEPT_BYTES):
        self.vision, self.max_bytes = vision, max_bytes
        self.sequences: list[Sequence] = []
        self._kept: OrderedDict[int, torch.Tensor] = OrderedDict()
        self._rows: dict[int, torch.Tensor] = {}  # of the first sequence, as far as they are seen
        self._looking: tuple[int, Generator[None, None, torch.Tensor]] | None = None

    def add(self, seq: Sequence) -> None:
        self.sequences.append(seq)

    def remove(self, seq: Sequence) -> bool:
        """Whether ``seq`` was here. What it was looking at is given up."""
        if seq not in self.sequences:
            return False
        if seq is self.sequences[0]:
            self._rows, self._looking = {}, None
        self.sequences.remove(seq)
        return True

    def step(self) -> Sequence | None:
        """A little work for the first sequence: one layer for one square. Returns the sequence once it is ready."""
        if not self.sequences:
            return None
        seq = self.sequences[0]
        if self._looking is None:
            digest = next((digest for digest in seq.squares if not self._has(digest)), None)
            if digest is None:
                return self._ready(seq)
            assert self.vision is not None, "pictures are refused without it"
            self._looking = digest, self.vision.look(seq.squares[digest])
        digest, steps = self._looking
        try:
            with torch.inference_mode():
                next(steps)
        except StopIteration as stop:
            self._looking = None
            self._rows[digest] = stop.value
        return None

    def _has(self, digest: int) -> bool:
        if digest in self._kept:
            self._kept.move_to_end(digest)
            self._rows[digest] = self._kept[digest]
        return digest in self._rows

    def _ready(self, seq: Sequence) -> Sequence:
        seq.features = Features(self._rows, self.vision is not None and self.vision.both_sides)
        for digest, rows in self._rows.items():
            self._kept[digest] = rows
        while sum(rows.nbytes for rows in self._kept.values()) > self.max_bytes:
            self._kept.popitem(last=False)
        seq.squares = {}
        self._rows = {}
        self.sequences.remove(seq)
        return seq
