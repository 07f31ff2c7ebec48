"""An event loop whose clock jumps to the next timer when there is nothing to do: hours pass in milliseconds."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Does not wait: what would be waited for is added to ``now``."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("nothing is ever going to happen: everybody waits for somebody")
            self.now += max(timeout, 0.0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """For tests without sockets, threads or processes."""

    def __init__(self) -> None:
        self.virtual = _Selector()
        super().__init__(self.virtual)

    def time(self) -> float:
        return self.virtual.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` in virtual time. Raises RuntimeError on a deadlock."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def clock() -> SimpleNamespace:
    """Stands in for the module ``time``, by the running loop's clock."""

    def now() -> float:
        return asyncio.get_running_loop().time()

    return SimpleNamespace(monotonic=now, monotonic_ns=lambda: int(now() * 1e9))
