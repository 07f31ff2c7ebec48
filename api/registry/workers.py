"""Threads for the disk's work of transfers: the event loop does not wait, and the server's other threads stay free."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

__all__ = ["Workers"]

P = ParamSpec("P")
T = TypeVar("T")

_N_THREADS = 4


class Workers:
    """A few threads, started on first use."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_N_THREADS, thread_name_prefix="transfer")

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What ``function`` returns. Who is cancelled meanwhile goes on only when it has ended.

        A thread cannot be stopped, and what it works on must not be closed below it.
        """
        future = asyncio.get_running_loop().run_in_executor(self._pool, lambda: function(*args, **kwargs))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await _ended(future)
            raise

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


async def _ended(future: asyncio.Future[T]) -> None:
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            continue  # once is enough to know
    if not future.cancelled():
        future.exception()
