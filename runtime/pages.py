"""Who owns which page of the KV cache, and which pages hold what a later sequence can use. Knows no tensors.

A page is in use, cached or free. Full pages are entered in an index by the tokens they hold and the page before
them, so that a prefix is found page by page. The tokens themselves are the key: two prefixes are never mistaken for
each other. A cached page is one that nobody uses but that can still be found; the one that was given back first is
the first to be overwritten.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

ROOT: Hashable = ()


@dataclass(frozen=True)
class Block:
    """A full page in the index. ``serial`` stands for it and all before it, and is never used again."""

    page: int
    serial: int
    key: tuple[Hashable, tuple[int, ...]]


class PagePool:
    """``n_pages`` pages of ``page_size`` tokens. ``keep`` False forgets what a page held when it is given back."""

    def __init__(self, n_pages: int, page_size: int, *, keep: bool = True):
        self.n_pages, self.page_size = n_pages, page_size
        self.n_evicted = 0
        self._keep = keep
        self._free = list(reversed(range(n_pages)))  # the last one given back is taken first: it has memory already
        self._cached: OrderedDict[int, None] = OrderedDict()  # least recently used first
        self._uses = [0] * n_pages
        self._index: dict[tuple[Hashable, tuple[int, ...]], Block] = {}
        self._blocks: dict[int, Block] = {}  # by page
        self._serials = itertools.count(1)

    @property
    def n_free(self) -> int:
        """Pages that can be allocated, cached ones included."""
        return len(self._free) + len(self._cached)

    @property
    def n_cached(self) -> int:
        return len(self._cached)

    def pages_for(self, n_tokens: int) -> int:
        """How many pages ``n_tokens`` tokens need."""
        return -(-n_tokens // self.page_size)

    def allocate(self, n: int) -> list[int] | None:
        """``n`` pages with one use each, or None, and then nothing has changed."""
        if n > self.n_free:
            return None
        pages = [self._free.pop() if self._free else self._evict() for _ in range(n)]
        for page in pages:
            self._uses[page] = 1
        return pages

    def release(self, pages: Sequence[int]) -> None:
        """Give back one use of each page of a sequence, in its order."""
        for page in reversed(pages):  # a page is found through the one before it, so that one lives longer
            assert self._uses[page] > 0, f"page {page} is released twice"
            self._uses[page] -= 1
            if self._uses[page]:
                continue
            if page in self._blocks:
                self._cached[page] = None
            else:
                self._free.append(page)

    def find(self, parent: Hashable, tokens: Sequence[int]) -> Block | None:
        """The page that holds ``tokens`` behind ``parent`` (a serial, or what a sequence begins with)."""
        return self._index.get((parent, tuple(tokens)))

    def use(self, block: Block) -> int:
        """One more use of a page that was found."""
        self._cached.pop(block.page, None)
        self._uses[block.page] += 1
        return block.page

    def register(self, page: int, parent: Hashable, tokens: Sequence[int]) -> Hashable:
        """Enter a full page, so that it can be found. Returns its serial: the next page's ``parent``."""
        key = (parent, tuple(tokens))
        block = self._index.get(key)
        if block is None:
            block = Block(page, next(self._serials), key)
            if self._keep:
                self._index[key] = self._blocks[page] = block
        return block.serial

    def _evict(self) -> int:
        page, _ = self._cached.popitem(last=False)
        del self._index[self._blocks.pop(page).key]
        self.n_evicted += 1
        return page

    def check_integrity(self, held: list[list[int]]) -> None:
        """Assert that every page is either ``held`` by sequences, cached or free, and that the index is right."""
        uses = [0] * self.n_pages
        for page in itertools.chain.from_iterable(held):
            uses[page] += 1
        assert uses == self._uses, "reference counts do not match the sequences' pages"
        unused = sorted([*self._free, *self._cached])
        assert unused == [p for p in range(self.n_pages) if not uses[p]], "free list is wrong"
        assert all(page in self._blocks for page in self._cached), "a cached page cannot be found"
        assert not any(page in self._blocks for page in self._free), "a free page can still be found"
        assert {b.key: b for b in self._blocks.values()} == self._index, "index and pages differ"
