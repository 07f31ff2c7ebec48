"""What happens to loaded models while nobody asks for anything: they expire, and those that hang are ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from gristmill.runtime.errors import RunnerStopped

from .loaded import Loaded

log = logging.getLogger(__name__)

STALL_S = 60.0  # without a step while requests run: no step of a working runner takes so long
LOOK_S = 5.0


class Upkeep:
    """Two tasks over ``models``, which others change; whoever does calls ``notify``. Made inside an event loop.

    ``unload`` begins to end an idle model's runner at once, ``discard`` that of one that hangs.
    """

    def __init__(
        self,
        models: Mapping[Path, Loaded],
        unload: Callable[[Loaded], Awaitable[None]],
        discard: Callable[[Loaded], Awaitable[None]],
        *,
        stall_s: float = STALL_S,
        look_s: float = LOOK_S,
    ):
        self._models, self._unload, self._discard = models, unload, discard
        self._stall_s, self._look_s = stall_s, look_s
        self._changed = asyncio.Event()
        self._changes: list[asyncio.Future[None]] = []
        self._tasks = [asyncio.create_task(self._expire()), asyncio.create_task(self._watch())]

    async def close(self) -> None:
        """May be called twice."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def notify(self) -> None:
        """A model was loaded, became idle, is to go or to stay, or has gone."""
        self._changed.set()
        changes, self._changes = self._changes, []
        for change in changes:
            if not change.done():
                change.set_result(None)

    async def next_change(self) -> None:
        """Returns after the next call of ``notify``."""
        change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changes.append(change)
        await change

    async def _expire(self) -> None:
        """Sleeps until the next model expires; wakes up early when something has changed."""
        while True:
            self._changed.clear()
            timers = [m.expires_at for m in self._models.values() if m.expires_at is not None and not m.unloading]
            next_at = min(timers, default=math.inf)
            if next_at <= time.monotonic():
                due = [m for m in self._models.values() if m.expires_at == next_at and not m.unloading]
                for model in due:
                    log.info("unloading %s: it was idle for %g s", model.name, model.keep_alive_s)
                await asyncio.gather(*map(self._unload, due))
                continue
            timeout = None if math.isinf(next_at) else next_at - time.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._changed.wait()

    async def _watch(self) -> None:
        """A runner whose steps do not go on while requests run is ended; the requests get an error."""
        seen: dict[Loaded, tuple[int, float]] = {}  # steps, and for how long there have been no more
        looked = time.monotonic()
        while True:
            await asyncio.sleep(self._look_s)
            busy = [model for model in self._models.values() if model.n_users and model.alive]
            steps = await asyncio.gather(*map(self._steps, busy))
            # A machine that slept, or a stopped process, has not been looked at: that time says nothing.
            passed = min(time.monotonic() - looked, 2 * self._look_s)
            looked, known, seen = time.monotonic(), seen, {}
            for model, n in zip(busy, steps, strict=True):
                if n is not None:
                    before, stalled_s = known.get(model, (None, 0.0))
                    seen[model] = (n, stalled_s + passed if n == before else 0.0)
                    if seen[model][1] > self._stall_s and not model.unloading:
                        log.error("the runner of %s has made no step for %g s and is ended", model.name, self._stall_s)
                        await self._discard(model)

    async def _steps(self, model: Loaded) -> int | None:
        """Steps that a runner has made; None where it has nothing to do, -1 where it does not answer."""
        try:
            stats = await model.runner.ping(self._look_s) if model.runner is not None else None
        except RunnerStopped:
            return -1
        return stats.steps if stats is not None and (stats.running or stats.waiting) else None
