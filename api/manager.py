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
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from gristmill.runtime.errors import OutOfMemory, RunnerError, RunnerStopped
from gristmill.runtime.runner.client import Runner

from .crashes import Crashes
from .errors import ServerBusy
from .loaded import Loaded, Places
from .loading import Given, Loading, Wanted, load_message
from .memory import Demand, available_bytes
from .options import LoadOptions
from .room import Room
from .settings import Settings
from .upkeep import Upkeep

log = logging.getLogger(__name__)

BUSY = "server busy, please try again.  maximum pending requests exceeded"
AUTOMATIC_LIMIT = 3
HEALTH_S = 10.0
FRESH_S = 2.0
StartRunner = Callable[..., Awaitable[Runner]]


@dataclass(frozen=True)
class Lease:
    """The right to use a runner. ``load_ns`` is what the request waited for it."""

    runner: Runner
    load_ns: int


class Manager:
    """``start_runner`` is ``Runner.start``, or a test's own; ``available`` says how many bytes of memory are free.

    ``on_load`` is told the name of each model that has been loaded, and the seconds it took.
    """

    def __init__(
        self,
        settings: Settings,
        start_runner: StartRunner,
        *,
        available: Callable[[], int | None] = available_bytes,
        on_load: Callable[[str, float], None] = lambda name, seconds: None,
    ):
        self.settings = settings
        self.limit = settings.max_loaded_models or AUTOMATIC_LIMIT
        self._start_runner, self._on_load = start_runner, on_load
        self._models: dict[Path, Loaded] = {}
        self._loads: dict[Path, Loading] = {}
        self._one_by_one = asyncio.Lock()
        self._n_pending = 0
        self._crashes = Crashes()
        self._closing = False
        self._upkeep = Upkeep(self._models, self._unload, self._discard)
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

    @property
    def is_stopping(self) -> bool:
        """No more requests are taken."""
        return self._closing

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
        variant: Hashable = None,
    ) -> AsyncIterator[Lease]:
        """A place in a runner for the model at ``path``, loaded if need be, until the block ends.

        ``variant`` tells models apart that share its weights: it is loaded under the name of each.
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
                model.names.setdefault(variant, name)
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
            loads = model.loader is not None and not model.loader.done()
            assert model.runner is not None or loads, f"{model.name} is loading, but nobody loads it"
            assert model.idle.is_set() == (model.n_users == 0), f"{model.name}: users and idleness differ"
            n_inside = model.places.n - model.places.n_free
            assert n_inside + model.places.n_waiting <= model.n_users, f"{model.name}: places without users"
            timed = model.runner is None or (model.expires_at is None) == (model.n_users > 0)
            assert timed, f"{model.name}: {model.n_users} users, but it expires at {model.expires_at}"
        assert len(self._models) <= self.limit, "more models are loaded than may be"
        n_waiting = sum(model.places.n_waiting for model in self._models.values())
        n_waiting += sum(len(loading.waiting) for loading in self._loads.values())
        assert n_waiting <= self._n_pending, f"{n_waiting} wait, {self._n_pending} are counted"
        assert self._n_pending <= self.settings.max_queue, "the queue is over its limit"
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
        """Whether the runner of a model is well. One that hangs is ended; one that just says other things does not.

        Asking takes a third of a millisecond, so one that said something a moment ago is not asked.
        """
        assert model.runner is not None
        if model.alive and model.runner.silent_s < FRESH_S:
            return True
        try:
            await model.runner.ping(HEALTH_S)
            return True
        except RunnerStopped:
            if model.alive and model.runner.silent_s < HEALTH_S:
                return True
            await self._discard(model)
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
        model.expires_at = time.monotonic() + model.keep_alive_s
        self._upkeep.notify()

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
        model, n_contexts = await self._find_room(wanted)
        try:
            return await self._start(model, n_contexts)
        except (OutOfMemory, RunnerError) as error:
            if not _is_memory(error) or not await self._unload_idle():
                raise
        log.info("loading %s again, in the memory that others had", wanted.name)
        return await self._start(*await self._find_room(wanted))

    async def _find_room(self, wanted: Wanted) -> tuple[Loaded, int]:
        """An entry to load the model into, and how many contexts its cache may hold.

        It is the loaded model itself where that was to go and may stay. Raises ServerBusy after the load timeout.
        """
        limit_s = self.settings.load_timeout_s
        try:
            async with asyncio.timeout(None if math.isinf(limit_s) else limit_s):
                return await self._kept(wanted) or await self._reserve(wanted)
        except TimeoutError:
            raise ServerBusy(
                f"server busy: no room for the model within {limit_s:g} s, because others are in use; try again later"
            ) from None

    async def _kept(self, wanted: Wanted) -> tuple[Loaded, int] | None:
        """What is loaded at the path, if it will do; else it is unloaded when its requests have ended."""
        while (model := self._models.get(wanted.path)) is not None:
            fits = wanted.options.served_by(model.options)
            if model.usable and fits:
                return model, 0
            if model.runner is None or model.closing is not None or (model.alive and fits):
                await self._upkeep.next_change()  # a load that was given up comes to its end, or another wants its room
            else:
                await self._unload_when_idle(model)
        return None

    async def _reserve(self, wanted: Wanted) -> tuple[Loaded, int]:
        self._crashes.check(wanted.path)
        options, demand = wanted.options, wanted.demand
        async with self._one_by_one:
            n_contexts = await self._room.make(demand, options.num_ctx)
            places, n_bytes = Places(self.settings.n_slots), demand.total(options.num_ctx * n_contexts)
            model = Loaded(wanted.path, wanted.name, options, self.settings.keep_alive_s, places, n_bytes)
            model.loader = asyncio.current_task()
            self._models[model.path] = model
        return model, n_contexts

    async def _start(self, model: Loaded, n_contexts: int) -> Loaded:
        if model.runner is not None:
            return model
        stall = self.settings.load_timeout_s
        try:
            model.runner = await self._start_runner(
                load_message(model, n_contexts, self.settings),
                on_progress=lambda progress: setattr(model, "progress", progress),
                stall_timeout_s=None if math.isinf(stall) else stall,
            )
        except BaseException as error:
            if isinstance(error, RunnerError):
                self._crashes.note(model.path)
            del self._models[model.path]
            self._upkeep.notify()
            raise
        ready, seconds = model.runner.ready, model.runner.ready.load_ns / 1e9
        if not model.options.num_ctx:
            model.options = replace(model.options, num_ctx=ready.n_ctx)
        model.expires_at = time.monotonic() + model.keep_alive_s
        self._on_load(model.name, seconds)
        log.info("loaded %s: %s, %.0f MB, %.2f s", model.name, ready.backend, ready.memory_bytes / 1e6, seconds)
        self._upkeep.notify()
        return model

    # -- letting go --------------------------------------------------------------------------------------------

    async def _go_or_wait(self, victim: Loaded | None) -> None:
        """Unload a model that has to go, if it is idle; else wait for a change, while it takes no new requests."""
        if victim is None:
            await self._upkeep.next_change()
        elif victim.alive and victim.n_users:
            with self._stopping(victim):
                await self._upkeep.next_change()
        else:
            log.info("unloading %s to make room", victim.name)
            await self._unload_when_idle(victim)

    async def _unload_idle(self) -> bool:
        idle = [m for m in self._models.values() if m.runner is not None and not m.n_users]
        await asyncio.gather(*map(self._unload, idle))
        return bool(idle)

    async def _unload_when_idle(self, model: Loaded) -> None:
        """A living model's running requests finish first; it takes no new ones meanwhile."""
        with self._stopping(model):
            while model.alive and model.n_users:
                await self._upkeep.next_change()
            await (self._unload(model) if model.alive else self._discard(model))

    @contextlib.contextmanager
    def _stopping(self, model: Loaded) -> Iterator[None]:
        """While somebody wants a model to become idle, it takes no new requests."""
        model.n_closers += 1
        try:
            yield
        finally:
            model.n_closers -= 1
            self._upkeep.notify()

    def _discard(self, model: Loaded) -> Awaitable[None]:
        """``_unload`` for a model whose runner has died or hangs."""
        if model.closing is None:
            log.warning("the runner of %s has died or does not answer", model.name)
            self._crashes.note(model.path)
        return self._unload(model)

    def _unload(self, model: Loaded) -> Awaitable[None]:
        """Begin to end a model's process, whoever uses it. That is done, even if nobody waits for the end."""
        if model.closing is None:
            model.closing = asyncio.create_task(self._end(model))
        return asyncio.shield(model.closing)

    async def _end(self, model: Loaded) -> None:
        try:
            if model.runner is not None:
                await model.runner.close()
        except Exception:
            log.exception("the runner of %s did not end as it should", model.name)
        finally:
            if self._models.get(model.path) is model:
                del self._models[model.path]
            self._upkeep.notify()


def _is_memory(error: Exception) -> bool:
    """Whether a load failed for want of memory: the runner says so, or the system has killed it."""
    return isinstance(error, OutOfMemory) or "signal 9" in str(error)
