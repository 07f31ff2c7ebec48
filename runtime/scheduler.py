"""Which sequences advance by how many tokens, and who gets and loses pages. Knows no tensors.

There is no prefill phase: every sequence is some tokens behind, and a step advances sequences under a token
budget. Those that are one token behind (they are decoding) go first. What a step may hold of prompts besides is
``pace``'s to say, so that a long prompt never holds up running streams for long; the oldest prompt gets half of it, the
shortest ones the rest, so that neither waits for the other.

Pages are allocated when they are needed. When there are none left, the youngest sequence gives back its own and
starts again later: its tokens are known, so nothing is lost but time.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Hashable, Iterable

from .pace import Pace
from .pages import PagePool
from .sequence import Sequence

Plan = list[tuple[Sequence, int]]
Key = tuple[Hashable, tuple[int, ...]]


class Scheduler:
    """``token_budget`` tokens per step, at most ``max_running`` sequences at once.

    The pool must hold the longest sequence. ``n_preempted`` and ``n_cached_tokens`` count since the start: sequences
    that lost their pages, and prompt tokens that were found instead of computed.
    """

    def __init__(self, pool: PagePool, *, token_budget: int, max_running: int, pace: Pace | None = None):
        self.pool = pool
        self.token_budget, self.max_running = token_budget, max_running
        self.pace = pace or Pace()
        self.waiting: list[Sequence] = []  # both by arrival
        self.running: list[Sequence] = []
        self.n_preempted = self.n_cached_tokens = 0
        self._n_arrived = 0

    @property
    def idle(self) -> bool:
        return not self.waiting and not self.running

    def add(self, seq: Sequence) -> None:
        """Queue ``seq``; it joins between two steps."""
        self._n_arrived += 1
        seq.arrival = self._n_arrived
        self.waiting.append(seq)

    def remove(self, seq: Sequence) -> None:
        """Forget ``seq``, wherever it is, and give back its pages."""
        (self.running if seq in self.running else self.waiting).remove(seq)
        self.restart(seq)

    def restart(self, seq: Sequence) -> None:
        """Compute ``seq`` anew from its first token. Its full pages can be found again while they are cached."""
        self.pool.release(seq.forget_pages())

    def schedule(self) -> Plan:
        """(sequence, tokens to compute in this step), every count at least 1.

        A sequence with a ``draft`` gets its one token and the draft's. The sequences' pages have room for the plan.
        """
        self._admit()
        plan: Plan = []
        prompts = [seq for seq in self.running if seq.n_behind > 1]
        for seq in [seq for seq in self.running if seq.n_behind == 1]:
            self._plan(plan, seq, 1 + len(seq.draft))
        budget = min(self.token_budget - sum(n for _, n in plan), self.pace.prompt_tokens(len(plan)))
        for seq, n in _shares(self._apart(prompts), budget):
            self._plan(plan, seq, n)
        return plan

    def advance(self, seq: Sequence, n: int) -> None:
        """``n`` more tokens of ``seq`` are computed; pages that are full now can be found by others."""
        seq.n_computed += n
        size = self.pool.page_size
        while (seq.n_registered + 1) * size <= seq.n_computed:
            i = seq.n_registered
            seq.parent = self.pool.register(seq.pages[i], seq.parent, seq.tokens[i * size : (i + 1) * size])
            seq.n_registered += 1

    # -- joining -----------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        while self.waiting and len(self.running) < self.max_running:
            seq = self.waiting[0]
            n_found = self._reuse(seq)
            needed = self.pool.pages_for(len(seq.tokens) + 1) - len(seq.pages)
            if self.running and needed + len(self.running) > self.pool.n_free:  # a page more for each that runs
                self.restart(seq)
                return
            insort(self.running, self.waiting.pop(0), key=_arrival)
            self._count_found(seq, n_found)

    def _reuse(self, seq: Sequence) -> int:
        """Take the pages that hold what ``seq`` has to compute next; how many tokens. The last one is always computed.

        Nothing is taken in the middle of a page, nor where ``seq`` has pages to compute into.
        """
        before, size = seq.n_computed, self.pool.page_size
        while seq.n_computed == seq.n_registered * size == len(seq.pages) * size:
            key = self._wanted_page(seq)
            block = self.pool.find(*key) if key else None
            if block is None:
                break
            seq.pages.append(self.pool.use(block))
            seq.parent = block.serial
            seq.n_registered += 1
            seq.n_computed += size
        return seq.n_computed - before

    def _count_found(self, seq: Sequence, n_found: int) -> None:
        self.n_cached_tokens += n_found
        if not seq.n_output:
            seq.n_cached += n_found

    def _apart(self, prompts: Iterable[Sequence]) -> list[Sequence]:
        """Those of ``prompts`` that do not wait for another one to compute the page they need, too."""
        taken: set[Key] = set()
        apart = []
        for seq in prompts:
            if seq in self.running:  # pages may have been computed since it joined
                self._count_found(seq, self._reuse(seq))
            key = self._wanted_page(seq)
            if key is None or key not in taken:
                apart.append(seq)
            if key is not None:
                taken.add(key)
        return apart

    def _wanted_page(self, seq: Sequence) -> Key | None:
        """The key of the page that ``seq`` is at; None where that would hold its last token."""
        size = self.pool.page_size
        start = seq.n_registered * size
        return (seq.parent, tuple(seq.tokens[start : start + size])) if start + size < len(seq.tokens) else None

    # -- pages -------------------------------------------------------------------------------------------------

    def _plan(self, plan: Plan, seq: Sequence, n: int) -> None:
        """Add ``seq`` to the plan if it is still running and there are pages for ``n`` tokens more."""
        if n > 0 and seq in self.running and self._grow(plan, seq, n):
            plan.append((seq, n))

    def _grow(self, plan: Plan, seq: Sequence, n: int) -> bool:
        needed = self.pool.pages_for(seq.n_computed + n) - len(seq.pages)
        while needed > self.pool.n_free:
            planned = {id(other) for other, _ in plan}
            younger = [s for s in self.running if s.arrival > seq.arrival and id(s) not in planned]
            if not younger:
                return False
            self._preempt(younger[-1])
        if needed > 0:
            seq.pages += self.pool.allocate(needed) or []
        return True

    def _preempt(self, seq: Sequence) -> None:
        self.restart(seq)
        self.running.remove(seq)
        insort(self.waiting, seq, key=_arrival)
        self.n_preempted += 1


def _arrival(seq: Sequence) -> int:
    return seq.arrival


def _shares(prompts: list[Sequence], budget: int) -> list[tuple[Sequence, int]]:
    """``budget`` tokens among ``prompts``, which are ordered by arrival: half for the oldest, the shortest next."""
    if not prompts or budget <= 0:
        return []
    oldest = prompts[0]
    first = min(oldest.n_behind, -(-budget // 2))
    left = budget - first
    shares = []
    for seq in sorted(prompts[1:], key=lambda seq: seq.n_behind):  # stable: by arrival within
        n = min(seq.n_behind, left)
        shares.append((seq, n))
        left -= n
    return [(oldest, first + min(left, oldest.n_behind - first)), *shares]
