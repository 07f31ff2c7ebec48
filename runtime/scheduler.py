"""Which sequences advance by how many tokens. Knows no tensors.

There is no prefill phase: every sequence is some tokens behind, and a step advances sequences under a token
budget. Those that are one token behind (they are decoding) go first, so a long prompt never holds up running
streams; the rest of the budget goes to prompts in the order they came.
"""

from __future__ import annotations

from collections import deque

from .pages import PagePool
from .sequence import Sequence


class Scheduler:
    """``token_budget`` tokens per step, at most ``max_running`` sequences at once.

    A sequence is admitted only when the pages for its whole life (prompt and ``max_tokens``, bounded by the
    context) are free, so nothing that runs can run out of pages.
    """

    def __init__(self, pool: PagePool, *, n_ctx: int, token_budget: int, max_running: int):
        self.pool = pool
        self.n_ctx = n_ctx
        self.token_budget = token_budget
        self.max_running = max_running
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []

    @property
    def idle(self) -> bool:
        return not self.waiting and not self.running

    def add(self, seq: Sequence) -> None:
        """Queue ``seq``; it joins between two steps."""
        self.waiting.append(seq)

    def remove(self, seq: Sequence) -> None:
        """Forget ``seq``, wherever it is, and free its pages."""
        if seq in self.running:
            self.running.remove(seq)
        elif seq in self.waiting:
            self.waiting.remove(seq)
        self.pool.release(seq.pages)
        seq.pages = []

    def schedule(self) -> list[tuple[Sequence, int]]:
        """(sequence, tokens to compute in this step), every count at least 1."""
        self._admit()
        budget = self.token_budget
        plan: list[tuple[Sequence, int]] = []
        for seq in sorted(self.running, key=lambda seq: seq.n_behind > 1):  # stable: order of arrival within
            n = min(seq.n_behind, budget)
            if n:
                plan.append((seq, n))
                budget -= n
        return plan

    def _admit(self) -> None:
        while self.waiting and len(self.running) < self.max_running:
            seq = self.waiting[0]
            n_tokens = min(self.n_ctx, seq.n_prompt + seq.max_tokens)
            pages = self.pool.allocate(self.pool.pages_for(n_tokens))
            if pages is None:
                return
            seq.pages = pages
            self.running.append(self.waiting.popleft())
