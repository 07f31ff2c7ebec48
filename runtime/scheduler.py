"""Which sequences advance by how many tokens, and who gets and loses pages. Knows no tensors.

There is no prefill phase: every sequence is some tokens behind, and a step advances sequences under a token
budget. Those that are one token behind (they are decoding) go first. What a step may hold of prompts besides is
``pace``'s to say, so that a long prompt never holds up running streams for long; the oldest prompt gets half of it, the
shortest ones the rest, so that neither waits for the other.

Pages are allocated when they are needed. When there are none left, the youngest sequence gives back its own and
starts again later: its tokens are known, so nothing is lost but time.

Models that keep a state of each sequence (``states.py``) go on from pages that are found only where there is a snapshot
too. So their prompts are cut at the ends of pages, where snapshots are taken.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Hashable, Iterable

from .pace import Pace
from .pages import Block, PagePool
from .sequence import Sequence
from .states import NONE, StatePool
from .vision.places import whole_squares

Plan = list[tuple[Sequence, int]]
Key = tuple[Hashable, tuple[int, ...]]
WORTH_A_CUT = 64  # tokens that a snapshot must save to have the rest of a prompt computed in a step of its own


class Scheduler:
    """``token_budget`` tokens per step, at most ``max_running`` sequences at once.

    The pool must hold the longest sequence. ``n_preempted`` and ``n_cached_tokens`` count since the start: sequences
    that lost their pages, and prompt tokens that were found instead of computed.
    """

    def __init__(
        self,
        pool: PagePool,
        *,
        token_budget: int,
        max_running: int,
        pace: Pace | None = None,
        states: StatePool | None = None,
    ):
        self.pool, self.states = pool, states or StatePool(0, 0)
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
        for row in (seq.state, seq.next_state):
            self.states.release(row)
        seq.state = seq.next_state = NONE

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
        if seq.next_state != NONE:
            self.states.release(seq.state)
            seq.state, seq.next_state = seq.next_state, NONE
        size = self.pool.page_size
        while (seq.n_registered + 1) * size <= seq.n_computed:
            i = seq.n_registered
            seq.parent = self.pool.register(seq.pages[i], seq.parent, seq.tokens[i * size : (i + 1) * size])
            seq.n_registered += 1
        if seq.state != NONE and seq.n_computed == seq.n_registered * size:
            self._keep_state(seq)

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
        size = self.pool.page_size
        if not seq.n_computed == seq.n_registered * size == len(seq.pages) * size:
            return 0
        blocks = self._found(seq)
        for block in blocks:
            seq.pages.append(self.pool.use(block))
            seq.parent = block.serial
            seq.n_registered += 1
            seq.n_computed += size
        if blocks and self.states.n_rows:
            self.states.release(seq.state)
            seq.state = self.states.use(seq.parent)
        return len(blocks) * size

    def _found(self, seq: Sequence) -> list[Block]:
        """The pages that ``seq`` can go on from: up to the last one with a snapshot behind it, if it needs that."""
        blocks: list[Block] = []
        parent, page = seq.parent, seq.n_registered
        while (key := self._key(seq, parent, page)) and (block := self.pool.find(*key)):
            blocks.append(block)
            parent, page = block.serial, page + 1
        while blocks and self.states.n_rows and blocks[-1].serial not in self.states:
            blocks.pop()
        return blocks

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
            key = self._key(seq, seq.parent, seq.n_registered)
            if key is None or key not in taken:
                apart.append(seq)
            if key is not None:
                taken.add(key)
        return apart

    def _key(self, seq: Sequence, parent: Hashable, page: int) -> Key | None:
        """Of the page with this number behind ``parent``; None where that would hold the last token of ``seq``."""
        size = self.pool.page_size
        start = page * size
        return (parent, tuple(seq.tokens[start : start + size])) if start + size < len(seq.tokens) else None

    # -- states ------------------------------------------------------------------------------------------------

    def _keep_state(self, seq: Sequence) -> None:
        """Take a snapshot. Of what a sequence writes itself only the newest is kept: that is where it may go on."""
        if self.states.keep(seq.parent, seq.state) and seq.n_output:
            self.states.forget(seq.snapshot)
            seq.snapshot = seq.parent

    def _cut(self, seq: Sequence, n: int) -> int:
        """So many of ``n`` tokens that a snapshot can be taken behind them, where that is worth it."""
        if not self.states.n_rows or seq.n_behind <= 1:
            return n
        size = self.pool.page_size
        last = (len(seq.tokens) - 1) // size * size  # where a prompt that begins in the same way can go on
        end = seq.n_computed + n
        if end > last:
            return last - seq.n_computed if last - seq.n_computed >= WORTH_A_CUT else n
        whole = end // size * size - seq.n_computed
        return whole if whole > 0 else n

    # -- pages -------------------------------------------------------------------------------------------------

    def _plan(self, plan: Plan, seq: Sequence, n: int) -> None:
        """Add ``seq`` to the plan if it is still running and there are pages for ``n`` tokens more."""
        n = self._cut(seq, n)
        if seq.features is not None and seq.features.both_sides:
            n = whole_squares(seq.tokens, seq.n_computed, n)
        if n > 0 and seq in self.running and self._grow(plan, seq, n):
            seq.next_state = self.states.next_row(seq.state)
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
