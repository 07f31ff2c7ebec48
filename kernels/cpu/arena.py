"""Memory whose addresses stay fixed, for the tensors of a recorded program.

A tensor's place is given back when its storage dies, with the last view of it, and the next tensor may take it: the
recorded operators run in the order in which they were recorded.
"""

from __future__ import annotations

import math
import mmap
import weakref

import torch

_ALIGNMENT = 64
_REGION_BYTES = 1 << 20


class Arena:
    """Places in regions of anonymous memory; ``n_bytes`` is what the regions take."""

    def __init__(self) -> None:
        self.n_bytes = 0
        self._regions: list[memoryview] = []
        self._addresses: list[range] = []  # of the regions
        self._free: list[tuple[int, int, int]] = []  # (size, region, start), smallest first

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """A tensor of the arena with arbitrary contents."""
        n_bytes = math.prod(shape) * dtype.itemsize
        size = max(_ALIGNMENT, n_bytes + -n_bytes % _ALIGNMENT)
        region, start = self._take(size)
        place = self._regions[region][start : start + size]
        weakref.finalize(place, self._give_back, size, region, start)
        return torch.frombuffer(place, dtype=dtype, count=math.prod(shape)).reshape(shape)

    def owns(self, address: int) -> bool:
        """Whether ``address`` lies in the arena."""
        return any(address in addresses for addresses in self._addresses)

    def _take(self, size: int) -> tuple[int, int]:
        fitting = next((i for i, (free, _, _) in enumerate(self._free) if free >= size), None)
        if fitting is None:
            self._add_region(size)
            return self._take(size)
        free, region, start = self._free.pop(fitting)
        if free > size:
            self._insert(free - size, region, start + size)
        return region, start

    def _add_region(self, size: int) -> None:
        size = max(size, _REGION_BYTES)
        region = memoryview(mmap.mmap(-1, size))
        address = torch.frombuffer(region, dtype=torch.uint8).data_ptr()
        self._regions.append(region)
        self._addresses.append(range(address, address + size))
        self._insert(size, len(self._regions) - 1, 0)
        self.n_bytes += size

    def _give_back(self, size: int, region: int, start: int) -> None:
        for other in [f for f in self._free if f[1] == region and (f[2] + f[0] == start or start + size == f[2])]:
            self._free.remove(other)
            size, start = size + other[0], min(start, other[2])
        self._insert(size, region, start)

    def _insert(self, size: int, region: int, start: int) -> None:
        self._free.append((size, region, start))
        self._free.sort()
