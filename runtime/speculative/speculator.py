"""For whom tokens are guessed, and how many."""

from __future__ import annotations

from collections.abc import Sequence as Tokens
from dataclasses import dataclass

from ..sequence import Sequence
from .base import Drafter

LONGEST_PAUSE = 32


@dataclass
class _Record:
    """``pause`` tokens without guesses follow a wrong one; ``waited`` counts them."""

    pause: int = 0
    waited: int = 0


class Speculator:
    """Guesses while at most ``max_sequences`` run: with more, time goes into computing, and guesses cost more of it.

    A sequence whose guesses are wrong is left alone for 1, 2, 4 ... tokens. ``n_drafted`` and ``n_accepted`` count
    tokens since the start.
    """

    def __init__(self, drafter: Drafter, *, n_ctx: int, max_sequences: int = 1):
        self.drafter, self.n_ctx, self.max_sequences = drafter, n_ctx, max_sequences
        self.n_drafted = self.n_accepted = 0
        self._records: dict[int, _Record] = {}

    def propose(self, running: Tokens[Sequence]) -> None:
        """Give a draft to each sequence that decodes and asks for guesses."""
        if len(running) > self.max_sequences:
            return
        for seq in running:
            n = min(seq.sampling.n_draft, self.n_ctx - len(seq.tokens) - 1, seq.max_tokens - seq.n_output - 1)
            if n > 0 and seq.n_behind == 1 and seq.n_output and self._ready(seq):
                seq.draft = self.drafter.draft(seq.id, seq.tokens, n)

    def learn(self, seq: Sequence, n_drafted: int, n_accepted: int) -> None:
        """What became of a draft."""
        if not n_drafted:
            return
        self.n_drafted += n_drafted
        self.n_accepted += n_accepted
        record = self._records.setdefault(seq.id, _Record())
        record.pause = 0 if n_accepted else min(LONGEST_PAUSE, 2 * record.pause or 1)
        record.waited = 0

    def forget(self, seq: Sequence) -> None:
        """The sequence has ended, or its tokens are others now."""
        self._records.pop(seq.id, None)
        self.drafter.forget(seq.id)

    def _ready(self, seq: Sequence) -> bool:
        record = self._records.setdefault(seq.id, _Record())
        record.waited += 1
        return record.waited > record.pause
