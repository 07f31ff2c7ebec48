"""Who owns which row of the states that a model keeps beside its pages. Knows no tensors.

A state stands for all tokens that a sequence has computed, so it cannot be cut to a prefix: what a later sequence can
go on from are snapshots. Taking one copies nothing. The row is left as it is, under the serial of the page that ends
where the state does (``pages.py``), and who goes on from it writes to another row.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterable

NONE = -1
_SNAPSHOT_BYTES = 512 << 20
_MOST, _LEAST = 256, 4


def n_snapshots(state_bytes: int) -> int:
    """How many are kept of states of this size: so many that they take half a gigabyte, from 4 to 256."""
    return min(_MOST, max(_LEAST, _SNAPSHOT_BYTES // state_bytes)) if state_bytes else 0


class StatePool:
    """Rows for ``n_running`` sequences at once and ``n_snapshots`` snapshots; there is always one to write to.

    With ``n_running`` 0, for models that keep no states, every row is ``NONE``.
    """

    def __init__(self, n_running: int, n_snapshots: int):
        # In a step each sequence may read one row, which somebody else needs as well, and write another one.
        self.n_rows = 2 * n_running + n_snapshots if n_running else 0
        self._n_snapshots = n_snapshots
        self._free = list(reversed(range(self.n_rows)))  # the last one given back is taken first: it has memory already
        self._uses: Counter[int] = Counter()
        self._snapshots: OrderedDict[Hashable, int] = OrderedDict()  # least recently used first

    @property
    def n_snapshots(self) -> int:
        return len(self._snapshots)

    def next_row(self, row: int) -> int:
        """Where a sequence whose state is in ``row`` (or ``NONE``) writes its next one: one more use of that row."""
        if not self.n_rows:
            return NONE
        target = row if row != NONE and self._uses[row] == 1 else self._free.pop()
        self._uses[target] += 1
        return target

    def release(self, row: int) -> None:
        """Give back one use."""
        if row == NONE:
            return
        assert self._uses[row] > 0, f"state {row} is released twice"
        self._uses[row] -= 1
        if not self._uses[row]:
            del self._uses[row]
            self._free.append(row)

    def keep(self, serial: Hashable, row: int) -> bool:
        """Let the state in ``row`` be found as the one after page ``serial``; the one found longest ago may go.

        False where one is found there already.
        """
        if row == NONE or not self._n_snapshots or serial in self._snapshots:
            return False
        while len(self._snapshots) >= self._n_snapshots:
            self.release(self._snapshots.popitem(last=False)[1])
        self._snapshots[serial] = row
        self._uses[row] += 1
        return True

    def forget(self, serial: Hashable) -> None:
        """A snapshot that something better has taken the place of. Unknown ones are ignored."""
        self.release(self._snapshots.pop(serial, NONE))

    def __contains__(self, serial: Hashable) -> bool:
        return serial in self._snapshots

    def use(self, serial: Hashable) -> int:
        """One more use of the state after page ``serial``, which is there."""
        self._snapshots.move_to_end(serial)
        row = self._snapshots[serial]
        self._uses[row] += 1
        return row

    def check_integrity(self, held: Iterable[int]) -> None:
        """Assert that every row is ``held`` by sequences, a snapshot, or free."""
        uses = Counter(row for row in held if row != NONE) + Counter(self._snapshots.values())
        assert uses == self._uses, "use counts of states do not match"
        assert sorted([*self._free, *uses]) == list(range(self.n_rows)), "free states are wrong"
