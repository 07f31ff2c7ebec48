"""What guesses tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Drafter(Protocol):
    """Keeps what it needs by sequence id, until it is told to forget it."""

    def draft(self, seq_id: int, tokens: Sequence[int], n: int) -> list[int]:
        """Up to ``n`` tokens that may follow ``tokens``: between two calls, some more were added at the end."""
        ...

    def forget(self, seq_id: int) -> None:
        """The sequence has ended, or its tokens are others now. Unknown ids are ignored."""
        ...
