"""Recording operators into a native program, and replaying it with one call."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from .arena import Arena
from .context import CpuContext

_POOLED = range(128 << 10, 16 << 20)  # bytes


class Recorder:
    """Where operators get their results' memory and hand over their arguments: at once, or into a program.

    ``program`` is None while nothing is recorded.
    """

    def __init__(self, context: CpuContext):
        self.context = context
        self.program: Any = None
        self._arena: Arena | None = None
        self._pool = Arena()
        self._inputs: list[torch.Tensor] = []

    def empty(self, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Room for an operator's result.

        Large ones, not huge ones, come from a pool: the C library would map and clear fresh pages for each.
        """
        if self._arena is not None:
            return self._arena.empty(shape, dtype)
        pooled = _POOLED.start <= math.prod(shape) * dtype.itemsize < _POOLED.stop
        return self._pool.empty(shape, dtype) if pooled else torch.empty(shape, dtype=dtype)

    def address(self, x: torch.Tensor | None) -> int:
        """Where ``x`` lies, 0 for None. A recorded program keeps alive what it reads from outside the arena."""
        if x is None:
            return 0
        address = x.data_ptr()
        if self._arena is not None and not self._arena.owns(address):
            self._inputs.append(x)
        return address

    def record(self, function: Callable[[], Any]) -> CpuGraph:
        """Call ``function`` with operators that append to a program instead of computing."""
        assert self.program is None, "recordings do not nest"
        self.program, self._arena = self.context.native.new_program(), Arena()
        try:
            output = function()
            return CpuGraph(self.context, self.program, output, (self._arena, self._inputs, function))
        finally:
            self.program, self._arena, self._inputs = None, None, []


class CpuGraph:
    """A recorded program. ``owner`` keeps alive what it reads and writes."""

    def __init__(self, context: CpuContext, program: Any, output: Any, owner: Any):
        self._run, self._handle, self._program = context.native.run, context.handle, program
        self._output, self._owner = output, owner

    def replay(self) -> Any:
        """One native call, without the interpreter lock; returns the same output tensors each time."""
        self._run(self._handle, self._program)
        return self._output
