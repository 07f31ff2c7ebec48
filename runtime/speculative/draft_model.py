"""Guesses with a smaller model of the same vocabulary: its likeliest tokens, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..pages import PagePool
from ..sampling import TopK
from ..step import Forward, Span

CHUNK = 512  # tokens that are read at once: nobody waits for more than that


@dataclass
class _State:
    """``tokens`` have their keys and values in the draft model's cache."""

    tokens: list[int] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)


class DraftModel:
    """A ``Drafter``. ``forward`` has a cache of its own; when it is full, who was there longest ago is forgotten."""

    def __init__(self, forward: Forward, top_k: TopK, n_ctx: int, *, chunk: int = CHUNK):
        self._forward, self._top_k, self._n_ctx, self._chunk = forward, top_k, n_ctx, chunk
        self._pool = PagePool(forward.cache.n_pages, forward.cache.page_size, keep=False)
        self._states: dict[int, _State] = {}

    def draft(self, seq_id: int, tokens: Sequence[int], n: int) -> list[int]:
        n = min(n, self._n_ctx - len(tokens))
        if n <= 0:
            self.forget(seq_id)
            return []
        state = self._states[seq_id] = self._states.pop(seq_id, _State())  # now the one used last
        del state.tokens[_n_common(state.tokens, tokens) :]
        behind = list(tokens[len(state.tokens) :])
        if len(behind) > self._chunk:
            self._read(seq_id, state, behind[: self._chunk])
            return []
        guesses = [self._read(seq_id, state, behind)]
        while len(guesses) < n:
            guesses.append(self._read(seq_id, state, guesses[-1:]))
        return guesses

    def forget(self, seq_id: int) -> None:
        state = self._states.pop(seq_id, None)
        if state is not None:
            self._pool.release(state.pages)

    def _read(self, seq_id: int, state: _State, tokens: list[int]) -> int:
        """The likeliest token behind ``tokens``, which are read."""
        needed = self._pool.pages_for(len(state.tokens) + len(tokens)) - len(state.pages)
        while needed > self._pool.n_free:
            self.forget(next(other for other in self._states if other != seq_id))
        state.pages += self._pool.allocate(max(needed, 0)) or []
        logits = self._forward([Span(tokens, len(state.tokens), state.pages)])
        state.tokens += tokens
        return int(self._top_k(logits[0], 1, None)[1][0])


def _n_common(known: Sequence[int], tokens: Sequence[int]) -> int:
    """Length of the common beginning, less than that of ``tokens``: its last one is read in any case."""
    n = min(len(known), len(tokens) - 1)
    if known[:n] == list(tokens[:n]):  # nearly always, and quicker to find out
        return n
    return next((i for i in range(n) if known[i] != tokens[i]), n)
