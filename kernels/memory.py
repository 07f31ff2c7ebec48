"""Memory for weights and caches: large regions in huge pages, filled one tensor after the other.

Matrices of a small model are smaller than a huge page. On pages of 4 KiB reading them is bound by the translation of
addresses, and the processor's prefetching stops at each page's end: measured, a third of the speed.
"""

from __future__ import annotations

import mmap
import sys

import torch

_HUGE_PAGE = 2 << 20
_ALIGNMENT = 64
# Python names it from 3.13 on. A cache is mapped for the longest contexts, for which there may not be enough memory.
_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)


class Memory:
    """The system gives a region's pages when they are first written, so the last one costs what is in use.

    ``region_bytes`` are mapped at a time, or more for what is larger. Raises OSError where that is too much.
    """

    def __init__(self, region_bytes: int = 64 << 20) -> None:
        self._region_bytes = region_bytes
        self._region = torch.empty(0, dtype=torch.uint8)

    def take(self, n_bytes: int) -> torch.Tensor:
        """uint8 (n_bytes,) at a multiple of 64, with arbitrary contents. Lives as long as its tensor."""
        size = n_bytes + -n_bytes % _ALIGNMENT
        if size > self._region.shape[0]:
            self._region = _huge_pages(max(size, self._region_bytes))
        taken, self._region = self._region[:n_bytes], self._region[size:]
        return taken


def _huge_pages(n_bytes: int) -> torch.Tensor:
    # Private: the system has huge pages for shared memory seldom, and mmap is shared by default.
    pages = mmap.mmap(-1, n_bytes + _HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        pages.madvise(mmap.MADV_HUGEPAGE)
    region = torch.frombuffer(pages, dtype=torch.uint8)
    start = -region.data_ptr() % _HUGE_PAGE
    return region[start : start + n_bytes]
