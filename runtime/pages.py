"""Who owns which page of the KV cache. Knows no tensors.

Pages have reference counts, so that sequences will be able to share those of a common prefix.
"""

from __future__ import annotations

from collections import deque


class PagePool:
    """``n_pages`` pages of ``page_size`` tokens."""

    def __init__(self, n_pages: int, page_size: int):
        self.n_pages = n_pages
        self.page_size = page_size
        self._free = deque(range(n_pages))
        self._uses = [0] * n_pages

    @property
    def n_free(self) -> int:
        return len(self._free)

    def pages_for(self, n_tokens: int) -> int:
        """How many pages ``n_tokens`` tokens need."""
        return -(-n_tokens // self.page_size)

    def allocate(self, n: int) -> list[int] | None:
        """``n`` pages with one use each, or None, and then nothing has changed."""
        if n > len(self._free):
            return None
        pages = [self._free.popleft() for _ in range(n)]
        for page in pages:
            self._uses[page] = 1
        return pages

    def release(self, pages: list[int]) -> None:
        """Give back one use of each page."""
        for page in pages:
            assert self._uses[page] > 0, f"page {page} is released twice"
            self._uses[page] -= 1
            if not self._uses[page]:
                self._free.append(page)

    def check_integrity(self, held: list[list[int]]) -> None:
        """Assert that the pages ``held`` by all sequences and the free ones are all pages, each once."""
        uses = [0] * self.n_pages
        for page in (page for pages in held for page in pages):
            uses[page] += 1
        assert uses == self._uses, "reference counts do not match the sequences' pages"
        assert sorted(self._free) == [p for p in range(self.n_pages) if not uses[p]], "free list is wrong"
