"""A machine with little memory and runners that do everything runners have ever done, in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from types import SimpleNamespace

from gristmill.api.memory import Demand
from gristmill.runtime.errors import OutOfMemory, RunnerError, RunnerStopped, UnsupportedModel
from gristmill.runtime.runner.messages import Load, Progress

DEMAND = Demand(fixed=1000, per_token=1.0)


class MachineRunner:
    """Takes its memory bit by bit, may die, and may hang: ``hangs`` is "steps", "answers" or nothing.

    Whoever makes it do that says that it is ``doomed``: from then on its requests may fail.
    """

    def __init__(self, machine: Machine, load: Load):
        self.machine, self.load = machine, load
        self.n_tokens = load.num_ctx * load.n_contexts
        self.ready = SimpleNamespace(
            n_ctx=load.num_ctx, memory_bytes=DEMAND.fixed, kv_bytes=self.n_tokens, load_ns=1, backend="fake"
        )
        self.died = asyncio.Event()
        self.hangs = ""
        self.ending = self.doomed = False
        self.n_running = self.n_cached = 0

    @property
    def alive(self) -> bool:
        return not self.died.is_set()

    @property
    def memory_bytes(self) -> int:
        return DEMAND.fixed + self.n_cached

    @property
    def silent_s(self) -> float:
        return 1e9 if self.hangs == "answers" else 0.0

    async def work(self, seconds: float) -> None:
        """One request. Raises RunnerStopped where the runner ends before it."""
        if not self.alive:
            raise RunnerStopped("stopped")
        self.n_running += 1
        self.n_cached = min(self.n_tokens, self.n_cached + self.load.num_ctx)
        try:
            async with asyncio.timeout(None if self.hangs else seconds):
                await self.died.wait()
        except TimeoutError:
            if self.hangs:
                await self.died.wait()
            else:
                return
        finally:
            self.n_running -= 1
        raise RunnerStopped("stopped")

    async def ping(self, timeout_s: float = 10.0) -> SimpleNamespace:
        if not self.alive:
            raise RunnerStopped("stopped")
        try:
            async with asyncio.timeout(timeout_s if self.hangs == "answers" else self.machine.rng.random() / 10):
                await self.died.wait()
        except TimeoutError:
            if self.hangs != "answers":
                steps = 0 if self.hangs else int(asyncio.get_running_loop().time() * 10)
                return SimpleNamespace(running=self.n_running, waiting=0, steps=steps, memory_bytes=self.memory_bytes)
        raise RunnerStopped("does not answer")

    async def close(self) -> None:
        if self.alive and not self.ending:
            if self.n_running and not self.doomed:
                self.machine.problems.append(f"{self.load.path} was closed under {self.n_running} requests")
            self.ending = self.doomed = True  # told to end, it ends, whoever waits for that
            asyncio.get_running_loop().call_later(self.machine.rng.choice([0, 0.01, 5]), self.died.set)
        await self.died.wait()


class Machine:
    """``start_runner`` for a Manager. ``failures`` is the share of loads that go wrong."""

    def __init__(self, rng: random.Random, total: int, failures: float):
        self.rng, self.total, self.failures = rng, total, failures
        self.started: list[MachineRunner] = []
        self.loading: list[Load] = []
        self.problems: list[str] = []

    @property
    def living(self) -> list[MachineRunner]:
        return [runner for runner in self.started if runner.alive]

    def available(self) -> int:
        """Runners that are being loaded have taken nothing yet."""
        return self.total - sum(runner.memory_bytes for runner in self.living)

    def promised(self) -> int:
        """What all runners may grow to."""
        ending = [runner.n_cached for runner in self.living if runner.ending]
        staying = [runner.n_tokens for runner in self.living if not runner.ending]
        return sum(map(DEMAND.total, [*ending, *staying, *(x.num_ctx * x.n_contexts for x in self.loading)]))

    async def start(
        self, load: Load, *, on_progress: Callable[[Progress], None], stall_timeout_s: float | None
    ) -> MachineRunner:
        self.loading.append(load)
        try:
            for done in range(3):
                await asyncio.sleep(self.rng.choice([0, 0.1, 3]))
                on_progress(Progress(done=done, total=3))
            if self.rng.random() < self.failures:
                await self._fail(stall_timeout_s)
            self.started.append(MachineRunner(self, load))
            return self.started[-1]
        except asyncio.CancelledError:
            await asyncio.sleep(self.rng.choice([0, 1]))  # a process takes a while to end
            raise
        finally:
            self.loading.remove(load)

    async def _fail(self, stall_timeout_s: float | None) -> None:
        error = self.rng.choice(
            [
                OutOfMemory("not enough memory"),
                UnsupportedModel("tensor x: missing"),
                RunnerError("model runner has terminated while loading: signal 11"),
                RunnerError("timed out waiting for the model to load"),
            ]
        )
        await asyncio.sleep(stall_timeout_s or 0 if "timed out" in str(error) else 0)
        raise error
