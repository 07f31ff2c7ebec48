"""Which function serves an operator: chosen by (operator, format) along a chain of backends.

A backend brings the operators that it is good at; the reference backend ends every chain and has them all, so a
missing fast version costs speed and nothing else. ``Table.rows`` shows what was chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from .qtensor import QTensor

ANY = "*"
KernelKey = tuple[str, str]  # (operator, weight format or ANY)


@dataclass(frozen=True)
class Weight:
    """A weight as a backend keeps it. ``data`` is the backend's own business; ``stored`` names its form.

    ``format`` is the format in the file, ``n_bytes`` what ``data`` holds in memory.
    """

    name: str
    shape: tuple[int, ...]
    format: str
    stored: str
    data: Any
    n_bytes: int


class Graph(Protocol):
    """A captured sequence of operators."""

    def replay(self) -> Any:
        """Run it again on the present contents of the same input tensors; returns the same output tensors."""


class Backend(Protocol):
    """One way to compute on one kind of device. ``own_threads``: it does not use torch's."""

    name: str
    own_threads: bool
    kernels: Mapping[KernelKey, Callable[..., Any]]

    def prepare(self, name: str, tensor: QTensor, device: torch.device) -> Weight | None:
        """The weight in this backend's form, or None where it has no kernel for the format."""

    def capture(self, function: Callable[[], Any]) -> Graph | None:
        """Record ``function``, or None where this backend cannot."""


class Table:
    """The kernels of a chain of backends, first one wins."""

    def __init__(self, backends: Sequence[Backend]):
        self.backends = tuple(backends)
        self._found: dict[KernelKey, tuple[str, Callable[..., Any]]] = {}

    def find(self, op: str, stored: str = ANY) -> Callable[..., Any]:
        """The function for ``op`` on weights in the form ``stored``. Raises LookupError where nothing has it."""
        key = (op, stored)
        if key not in self._found:
            self._found[key] = self._search(op, stored)
        return self._found[key][1]

    def _search(self, op: str, stored: str) -> tuple[str, Callable[..., Any]]:
        for backend in self.backends:
            for key in ((op, stored), (op, ANY)):
                if key in backend.kernels:
                    return backend.name, backend.kernels[key]
        raise LookupError(f"no backend has operator {op} for {stored}")

    @property
    def rows(self) -> list[tuple[str, str, str, str]]:
        """(operator, form, backend, function) of every kernel used so far."""
        return [
            (op, stored, backend, function.__qualname__)
            for (op, stored), (backend, function) in sorted(self._found.items())
        ]
