"""Which models are loaded: one runner for each, started when asked for, kept alive, unloaded, replaced.

Knows no HTTP and no store: a model is a path and its load options. All of it runs on one event loop; a decision that
had to wait is looked at again before it is acted on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from gristmill.runtime.errors import RunnerError, RunnerStopped
from gristmill.runtime.runner.client import Runner
from gristmill.runtime.runner.messages import Load, Progress

from .errors import ServerBusy
from .options import LoadOptions
from .settings import Settings

log = logging.getLogger(__name__)

BUSY = "server busy, please try again.  maximum pending requests exceeded"
AUTOMATIC_LIMIT = 3
RESTARTS_PER_MINUTE = 3
HEALTH_S = 10.0
StartRunner = Callable[..., Awaitable[Runner]]


@dataclass(eq=False)
class Loaded:
    """A model with a runner, or one that is on its way: then ``progress`` counts the bytes of its weights.

    ``expires_at`` is monotonic, None while the model is in use.
    """

    path: Path
    name: str
    options: LoadOptions
    keep_alive_s: float
    runner: Runner | None = None
    progress: Progress | None = None
    n_users: int = 0
    expires_at: float | None = None
    unloading: bool = False
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def usable(self) -> bool:
        return self.runner is not None and self.runner.alive and not self.unloading


@dataclass(frozen=True)
class Lease:
    """The right to use a runner. ``load_ns`` is what the request waited for it."""

    runner: Runner
    load_ns: int


class Manager:
    """``start_runner`` is ``Runner.start``, or a test's own."""

    def __init__(self, settings: Settings, start_runner: StartRunner):
        self.settings = settings
        self.limit = settings.max_loaded_models or AUTOMATIC_LIMIT
        self._start_runner = start_runner
        self._models: dict[Path, Loaded] = {}
        self._loading = asyncio.Lock()
        self._n_pending = 0
        self._starts: dict[Path, deque[float]] = {}
        self._changed = asyncio.Event()
        self._closing = False
        self._expiry = asyncio.create_task(self._expire_models())

    @property
    def models(self) -> list[Loaded]:
        """Loaded and loading models, the one that expires last first."""
        alive = [m for m in self._models.values() if m.runner is None or m.runner.alive]
        return sorted(alive, key=self.seconds_left, reverse=True)

    def seconds_left(self, model: Loaded) -> float:
        """Until it is unloaded; for a busy model as if it became idle now."""
        if model.unloading:
            return 0.0
        return model.keep_alive_s if model.expires_at is None else model.expires_at - time.monotonic()

    @contextlib.asynccontextmanager
    async def lease(
        self, path: Path, name: str, options: LoadOptions, keep_alive_s: float | None
    ) -> AsyncIterator[Lease]:
        """A runner for the model at ``path``, loaded if need be, in use until the block ends.

        Raises ModelError when it cannot be loaded, RunnerError when its process fails, ServerBusy when too
        many requests wait.
        """
        started = time.monotonic_ns()
        model = await self._acquire(path, name, options)
        while not await self._answers(model):
            model = await self._acquire(path, name, options)
        try:
            if keep_alive_s is not None:
                model.keep_alive_s = keep_alive_s
            assert model.runner is not None
            yield Lease(model.runner, time.monotonic_ns() - started)
        finally:
            self._release(model)

    async def unload(self, path: Path) -> None:
        """Unload a model as soon as it is idle; returns at once where it is in use, and where it is not loaded."""
        model = self._models.get(path)
        if model is None:
            return
        if model.n_users or model.runner is None:
            model.keep_alive_s = 0.0
        else:
            await self._unload(model)

    async def drain(self, timeout_s: float) -> None:
        """Take no more requests, and wait for those that run, but not longer than ``timeout_s``."""
        self._closing = True
        busy = [model.idle.wait() for model in self._models.values() if model.n_users]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*busy)

    async def close(self) -> None:
        """Unload everything; requests that still run fail. May be called twice."""
        self._closing = True
        self._expiry.cancel()
        await asyncio.gather(self._expiry, return_exceptions=True)
        await asyncio.gather(*(self._unload(model) for model in list(self._models.values()) if model.runner))

    # -- getting a runner --------------------------------------------------------------------------------------

    async def _acquire(self, path: Path, name: str, options: LoadOptions) -> Loaded:
        if self._closing:
            raise ServerBusy("the server is stopping")
        model = self._take(path, options)
        if model is not None:
            return model
        if self._n_pending >= self.settings.max_queue:
            raise ServerBusy(BUSY)
        self._n_pending += 1
        try:
            async with self._loading:  # loads happen one at a time, in order
                while (model := self._take(path, options)) is None:
                    stale = self._models.get(path)
                    if stale is not None:
                        await self._replace(stale)
                    elif len(self._models) >= self.limit:
                        await self._evict()
                    else:
                        await self._load(path, name, options)
                return model
        finally:
            self._n_pending -= 1

    async def _answers(self, model: Loaded) -> bool:
        """Whether the runner of a model just acquired is well. One that hangs is ended, and given back as dead."""
        assert model.runner is not None
        try:
            await model.runner.ping(HEALTH_S)
            return True
        except RunnerStopped:
            log.warning("the runner of %s does not answer", model.name)
            self._release(model)
            await model.runner.close()
            return False
        except BaseException:
            self._release(model)
            raise

    def _take(self, path: Path, options: LoadOptions) -> Loaded | None:
        model = self._models.get(path)
        if model is None or not model.usable or not options.served_by(model.options):
            return None
        model.n_users += 1
        model.expires_at = None
        model.idle.clear()
        return model

    def _release(self, model: Loaded) -> None:
        model.n_users -= 1
        if model.n_users:
            return
        model.idle.set()
        if not model.unloading:
            model.expires_at = time.monotonic() + model.keep_alive_s
        self._changed.set()

    async def _load(self, path: Path, name: str, options: LoadOptions) -> None:
        self._check_restarts(path)
        model = Loaded(path, name, options, self.settings.keep_alive_s)
        self._models[path] = model
        load = Load(
            path=str(path),
            num_ctx=options.num_ctx,
            n_slots=self.settings.n_slots,
            n_contexts=self.settings.n_contexts,
            num_batch=options.num_batch,
            num_thread=options.num_thread,
            draft=options.draft,
            kv_type=self.settings.kv_cache_type,
            backend=self.settings.backend,
        )
        try:
            stall = self.settings.load_timeout_s
            model.runner = await self._start_runner(
                load,
                on_progress=lambda progress: setattr(model, "progress", progress),
                stall_timeout_s=None if math.isinf(stall) else stall,
            )
        except BaseException:
            del self._models[path]
            raise
        model.options = replace(options, num_ctx=model.runner.ready.n_ctx)
        model.idle.set()
        ready = model.runner.ready
        log.info("loaded %s: %s, %.0f MB, %.2f s", name, ready.backend, ready.memory_bytes / 1e6, ready.load_ns / 1e9)

    def _check_restarts(self, path: Path) -> None:
        """A runner that crashes again and again is not started more often than is good for the machine."""
        now, starts = time.monotonic(), self._starts.setdefault(path, deque(maxlen=RESTARTS_PER_MINUTE + 1))
        if len(starts) > RESTARTS_PER_MINUTE and now - starts[0] < 60:
            raise RunnerError("model runner has stopped several times within a minute, try again later")

    async def _replace(self, model: Loaded) -> None:
        """Make way for a runner with other options, or for one instead of a dead one; running requests finish."""
        if model.runner is not None and not model.runner.alive:
            self._starts.setdefault(model.path, deque(maxlen=RESTARTS_PER_MINUTE + 1)).append(time.monotonic())
            log.warning("the runner of %s has died", model.name)
        else:
            model.unloading = True
            await model.idle.wait()
        await self._unload(model)

    async def _evict(self) -> None:
        """Unload one model: idle ones first, those that are kept for the shortest time first."""
        by_age = sorted(self._models.values(), key=lambda m: (m.n_users > 0, m.keep_alive_s, str(m.path)))
        victim = by_age[0]
        victim.unloading = True
        log.info("unloading %s to make room", victim.name)
        await victim.idle.wait()
        await self._unload(victim)

    # -- letting go --------------------------------------------------------------------------------------------

    async def _unload(self, model: Loaded) -> None:
        model.unloading = True
        if model.runner is not None:
            await model.runner.close()
        if self._models.get(model.path) is model:
            del self._models[model.path]
        self._changed.set()

    async def _expire_models(self) -> None:
        """Sleeps until the next model expires; wakes up early when something has changed."""
        while True:
            self._changed.clear()
            timers = [m.expires_at for m in self._models.values() if m.expires_at is not None and not m.unloading]
            next_at = min(timers, default=math.inf)
            if next_at <= time.monotonic():
                due = [m for m in self._models.values() if m.expires_at == next_at and not m.n_users]
                for model in due:
                    log.info("unloading %s: it was idle for %g s", model.name, model.keep_alive_s)
                    await self._unload(model)
                continue
            timeout = None if math.isinf(next_at) else next_at - time.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._changed.wait()
