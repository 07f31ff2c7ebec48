"""Guesses from the text itself: what followed when the last few tokens stood there before.

Good for answers that repeat their prompt: code that is edited, summaries, JSON. After Saxena, "Prompt Lookup Decoding"
(2023). Needs no second model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

LENGTHS = (3, 2)  # of the tokens looked for, the more telling first


@dataclass
class _Index:
    """Where each group of tokens was followed by another one last: the place of that one."""

    places: dict[tuple[int, ...], int] = field(default_factory=dict)
    n_tokens: int = 0


class PromptLookup:
    """A ``Drafter``; the index grows with the sequence, so that a step costs no more for a long one."""

    def __init__(self) -> None:
        self._indexes: dict[int, _Index] = {}

    def draft(self, seq_id: int, tokens: Sequence[int], n: int) -> list[int]:
        index = self._indexes.setdefault(seq_id, _Index())
        for at in range(index.n_tokens, len(tokens)):
            for length in LENGTHS:
                if at >= length:
                    index.places[tuple(tokens[at - length : at])] = at
        index.n_tokens = len(tokens)
        for length in LENGTHS:
            if len(tokens) >= length:
                found = index.places.get(tuple(tokens[-length:]))
                if found is not None:
                    return list(tokens[found : found + n])
        return []

    def forget(self, seq_id: int) -> None:
        self._indexes.pop(seq_id, None)
