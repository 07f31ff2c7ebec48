"""Long work in pieces: generators that yield between them, so that other work goes on, and return a result."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")


def to_end(pieces: Generator[None, None, T]) -> T:
    """All of it at once; what it returns."""
    while True:
        try:
            next(pieces)
        except StopIteration as stop:
            result: T = stop.value
            return result
