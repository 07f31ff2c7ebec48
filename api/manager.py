"""Which models are loaded: one runner for each, started when asked for, shared, replaced, unloaded.

Knows no HTTP and no store: a model is a path, its load options and the memory it needs. All of it runs on one event
loop; a decision that had to wait is looked at again before it is acted on. Each model is loaded by a task of its own,
which waits for nobody but the users of models that must go; what a model may take of the machine is decided by one
task after the other, in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from gristmill.runtime.errors import OutOfMemory, RunnerError, RunnerStopped
from gristmill.runtime.runner.client import Runner
from gristmill.runtime.runner.messages import Load

from .errors import ServerBusy
from .loaded import Loaded, Places
from .loading import Given, Loading, Wanted
from .memory import Demand, available_bytes
from .options import LoadOptions
from .room import Room
from .settings import Settings
from .upkeep import Upkeep

log = logging.getLogger(__name__)

BUSY = "server busy, please try again.  maximum pending requests exceeded"
AUTOMATIC_LIMIT = 3
RESTARTS_PER_MINUTE = 3
HEALTH_S = 10.0
StartRunner = Callable[..., Awaitable[Runner]]


@dataclass(frozen=True)
class Lease:
    """The right to use a runner. ``load_ns`` is what the request waited for it."""

    runner: Runner
    load_ns: int


class Manager:
    """``start_runner`` is ``Runner.start``, or a test's own; ``available`` says how many bytes of memory are free."""

    def __init__(
        self,
        settings: Settings,
        start_runner: StartRunner,
        *,
        available: Callable[[], int | None] = available_bytes,
    ):
        self.settings = settings
        self.limit = settings.max_loaded_models or AUTOMATIC_LIMIT
        self._start_runner = start_runner
        self._models: dict[Path, Loaded] = {}
        self._loads: dict[Path, Loading] = {}
        self._one_by_one = asyncio.Lock()
        self._n_pending = 0
        self._starts: dict[Path, deque[float]] = {}
        self._closing = False
        self._upkeep = Upkeep(self._models, self._unload)
        self._room = Room(self._models, self.limit, settings.n_contexts, available, self._go_or_wait)

    @property
    def models(self) -> list[Loaded]:
        """Loaded and loading models, the one that expires last first."""
        alive = [m for m in self._models.values() if m.runner is None or m.runner.alive]
        return sorted(alive, key=self.seconds_left, reverse=True)

    @property
    def n_pending(self) -> int:
        """Requests that wait: for a model to be loaded, or for a place in it."""
        return self._n_pending

    def seconds_left(self, model: Loaded) -> float:
        """Until it is unloaded; for a busy model as if it became idle now."""
        if model.unloading:
            return 0.0
        return model.keep_alive_s if model.expires_at is None else model.expires_at - time.monotonic()

    @contextlib.asynccontextmanager
    async def lease(
        self,
        path: Path,
        name: str,
        options: LoadOptions,
        keep_alive_s: float | None,
        *,
        demand: Demand = Demand(),  # noqa: B008 - it is frozen
        client: str = "",
    ) -> AsyncIterator[Lease]:
        """A place in a runner for the model at ``path``, loaded if need be, until the block ends.

        Requests of the same ``client`` wait for each other rather than let other clients wait. Raises ModelError when
        the model cannot be loaded, RunnerError when its process fails, ServerBusy when too many requests wait.
        """
        started = time.monotonic_ns()
        while True:
            model = await self._acquire(Wanted(path, name, options, demand))
            try:
                await self._enter(model, client)
            except BaseException:
                self._release(model)
                raise
            try:
                if not await self._answers(model):
                    continue
                if keep_alive_s is not None:
                    model.keep_alive_s = keep_alive_s
                assert model.runner is not None
                yield Lease(model.runner, time.monotonic_ns() - started)
                return
            finally:
                model.places.release()
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
        """Unload everything; requests that still run or wait fail. May be called twice."""
        self._closing = True
        await self._upkeep.close()
        await asyncio.gather(*(loading.cancel() for loading in list(self._loads.values())))
        await asyncio.gather(*(self._unload(model) for model in list(self._models.values())))

    def check_integrity(self) -> None:
        """Assert that what is known of models, users and places fits together, for tests and long runs."""
        for path, model in self._models.items():
            assert model.path == path
            assert model.runner is not None or path in self._loads, f"{model.name} is loading, but nobody loads it"
            assert model.idle.is_set() == (model.n_users == 0), f"{model.name}: users and idleness differ"
            n_inside = model.places.n - model.places.n_free
            assert n_inside + model.places.n_waiting <= model.n_users, f"{model.name}: places without users"
        assert len(self._models) <= self.limit, "more models are loaded than may be"
        assert 0 <= self._n_pending <= self.settings.max_queue, "the queue is over its limit"
        assert all(loading.waiting for loading in self._loads.values()), "a model is loaded for nobody"

    # -- getting a place ---------------------------------------------------------------------------------------

    async def _acquire(self, wanted: Wanted) -> Loaded:
        """The model, with one user more."""
        while True:
            if self._closing:
                raise ServerBusy("the server is stopping")
            model = self._models.get(wanted.path)
            if model is not None and model.usable and wanted.options.served_by(model.options):
                self._use(model)
                return model
            with self._pending():
                loading = self._loads.get(wanted.path)
                if loading is None:
                    loading = self._loads[wanted.path] = Loading(partial(self._load, wanted), self._loaded)
                model = await loading.join(wanted.options)
            if model is not None:
                return model

    async def _enter(self, model: Loaded, client: str) -> None:
        if model.places.n_free:
            await model.places.acquire(client)
        else:
            with self._pending():
                await model.places.acquire(client)

    @contextlib.contextmanager
    def _pending(self) -> Iterator[None]:
        """While a request waits. Raises ServerBusy where too many do."""
        if self._n_pending >= self.settings.max_queue:
            raise ServerBusy(BUSY)
        self._n_pending += 1
        try:
            yield
        finally:
            self._n_pending -= 1

    async def _answers(self, model: Loaded) -> bool:
        """Whether the runner of a model is well. One that hangs is ended."""
        assert model.runner is not None
        try:
            await model.runner.ping(HEALTH_S)
            return True
        except RunnerStopped:
            log.warning("the runner of %s does not answer", model.name)
            await model.runner.close()
            return False

    def _use(self, model: Loaded) -> None:
        model.n_users += 1
        model.expires_at = None
        model.idle.clear()

    def _release(self, model: Loaded) -> None:
        model.n_users -= 1
        if model.n_users:
            return
        model.idle.set()
        if not model.unloading:
            model.expires_at = time.monotonic() + model.keep_alive_s
        self._upkeep.changed.set()

    # -- loading -----------------------------------------------------------------------------------------------

    def _loaded(self, loading: Loading, model: Loaded | None) -> None:
        """A load has ended: who waited for such a model has it before anyone can take it away."""
        self._loads = {path: other for path, other in self._loads.items() if other is not loading}
        for options, turn in loading.waiting:
            if model is None or turn.done():  # an error is told elsewhere, and who is done is leaving
                continue
            if options.served_by(model.options):
                self._use(model)
                turn.set_result(Given(model, self._release))
            else:
                turn.set_result(None)

    async def _load(self, wanted: Wanted) -> Loaded:
        """Load a model, in place of the one at its path if that has other options or is dead."""
        while (stale := self._models.get(wanted.path)) is not None:
            if stale.runner is None:
                await self._upkeep.next_change()  # a load that was given up is coming to its end
                continue
            self._note_death(stale)
            await self._unload_when_idle(stale)
        self._check_restarts(wanted.path)
        model, n_contexts = await self._reserve(wanted)
        try:
            return await self._start(model, n_contexts)
        except (OutOfMemory, RunnerError) as error:
            if not _is_memory(error) or not await self._unload_idle():
                raise
        log.info("loading %s again, in the memory that others had", wanted.name)
        return await self._start(*await self._reserve(wanted))

    async def _reserve(self, wanted: Wanted) -> tuple[Loaded, int]:
        """Room for a model: its entry, and how many contexts its cache may hold."""
        options, demand = wanted.options, wanted.demand
        async with self._one_by_one:
            n_contexts = await self._room.make(demand, options.num_ctx)
            places, n_bytes = Places(self.settings.n_slots), demand.total(options.num_ctx * n_contexts)
            model = Loaded(wanted.path, wanted.name, options, self.settings.keep_alive_s, places, n_bytes)
            self._models[model.path] = model
        return model, n_contexts

    async def _start(self, model: Loaded, n_contexts: int) -> Loaded:
        stall = self.settings.load_timeout_s
        try:
            model.runner = await self._start_runner(
                self._request(model, n_contexts),
                on_progress=lambda progress: setattr(model, "progress", progress),
                stall_timeout_s=None if math.isinf(stall) else stall,
            )
        except BaseException:
            del self._models[model.path]
            self._upkeep.changed.set()
            raise
        ready, seconds = model.runner.ready, model.runner.ready.load_ns / 1e9
        if not model.options.num_ctx:
            model.options = replace(model.options, num_ctx=ready.n_ctx)
        model.expires_at = time.monotonic() + model.keep_alive_s
        log.info("loaded %s: %s, %.0f MB, %.2f s", model.name, ready.backend, ready.memory_bytes / 1e6, seconds)
        self._upkeep.changed.set()
        return model

    def _request(self, model: Loaded, n_contexts: int) -> Load:
        options, settings = model.options, self.settings
        return Load(
            path=str(model.path),
            num_ctx=options.num_ctx,
            n_slots=settings.n_slots,
            n_contexts=n_contexts,
            num_batch=options.num_batch,
            num_thread=options.num_thread,
            draft=options.draft,
            kv_type=settings.kv_cache_type,
            backend=settings.backend,
        )

    def _note_death(self, model: Loaded) -> None:
        if model.runner is not None and not model.runner.alive and not model.unloading:
            starts = self._starts.setdefault(model.path, deque(maxlen=RESTARTS_PER_MINUTE + 1))
            starts.append(time.monotonic())
            log.warning("the runner of %s has died", model.name)

    def _check_restarts(self, path: Path) -> None:
        """A runner that crashes again and again is not started more often than is good for the machine."""
        starts = self._starts.get(path, deque())
        if len(starts) > RESTARTS_PER_MINUTE and time.monotonic() - starts[0] < 60:
            raise RunnerError("model runner has stopped several times within a minute, try again later")

    # -- letting go --------------------------------------------------------------------------------------------

    async def _go_or_wait(self, victim: Loaded | None) -> None:
        """Unload a model that has to go; where there is none, wait for something to change."""
        if victim is None:
            await self._upkeep.next_change()
            return
        log.info("unloading %s to make room", victim.name)
        await self._unload_when_idle(victim)

    async def _unload_idle(self) -> bool:
        idle = [m for m in self._models.values() if m.runner is not None and not m.n_users]
        await asyncio.gather(*(self._unload(model) for model in idle))
        return bool(idle)

    async def _unload_when_idle(self, model: Loaded) -> None:
        """A living model's running requests finish first; it takes no new ones meanwhile."""
        model.n_closers += 1
        try:
            if model.alive:
                await model.idle.wait()
            await self._unload(model)
        finally:
            model.n_closers -= 1
            self._upkeep.changed.set()

    async def _unload(self, model: Loaded) -> None:
        model.n_closers += 1
        try:
            if model.runner is not None:
                await model.runner.close()
        finally:
            model.n_closers -= 1
            if self._models.get(model.path) is model and model.runner is not None and not model.runner.alive:
                del self._models[model.path]
            self._upkeep.changed.set()


def _is_memory(error: Exception) -> bool:
    """Whether a load failed for want of memory: the runner says so, or the system has killed it."""
    return isinstance(error, OutOfMemory) or "signal 9" in str(error)
