"""The model manager under random schedules of everything, in virtual time, with all promises checked all the time."""

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest
from support import virtual_time
from support.fake_machine import DEMAND, Machine

from gristmill.api import crashes as crashes_module
from gristmill.api import manager as manager_module
from gristmill.api import upkeep as upkeep_module
from gristmill.api.errors import ServerBusy
from gristmill.api.manager import BUSY, Manager
from gristmill.api.options import LoadOptions
from gristmill.api.settings import Settings
from gristmill.runtime.errors import GristmillError, RunnerStopped

N_REQUESTS = 150
LONGEST_WORK_S = 200.0
PATHS = [Path(name) for name in "abcde"]


class Schedule:
    """One seed: settings, a machine, clients that come and go."""

    def __init__(self, seed: int):
        rng = self.rng = random.Random(seed)
        self.settings = Settings(
            max_loaded_models=rng.randint(1, 4),
            num_parallel=rng.randint(1, 4),
            max_queue=rng.choice([3, 20, 200]),
            load_timeout_s=300.0,
        )
        self.machine = Machine(rng, rng.choice([100_000, 6000, 2500]), rng.choice([0.0, 0.1, 0.4]))
        self.ends: Counter[str] = Counter()

    async def run(self) -> None:
        self.manager = Manager(self.settings, self.machine.start, available=self.machine.available)
        tasks, clock = [], asyncio.get_running_loop().time
        for _ in range(N_REQUESTS):
            tasks.append(asyncio.create_task(self.request()))
            await asyncio.sleep(self.rng.choice([0, 0, 0.01, 1, 30, 300]))
            await self.disturb(tasks)
            self.check()
        started = clock()
        while not all(task.done() for task in tasks):
            await asyncio.sleep(self.rng.choice([0, 0.1, 10]))
            self.check()
            assert clock() - started < 100_000, "somebody waits for ever"
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [r for r in results if isinstance(r, Exception)]
        assert self.ends.total() == N_REQUESTS
        await self.come_to_rest()

    async def request(self) -> None:
        rng, path = self.rng, self.rng.choice(PATHS)
        options = LoadOptions(num_ctx=rng.choice([100, 100, 100, 1000]), num_batch=512)
        keep_alive_s = rng.choice([None, None, 0, 5, 60])
        try:
            async with self.manager.lease(
                path, path.name, options, keep_alive_s, demand=DEMAND, client=rng.choice("xyz")
            ) as lease:
                runner = lease.runner
                assert runner.alive
                assert (runner.load.path, runner.load.num_ctx) == (str(path), options.num_ctx)
                assert runner.n_running < self.settings.num_parallel
                try:
                    await runner.work(rng.choice([0, 0.1, 5, LONGEST_WORK_S]))
                except RunnerStopped:
                    assert runner.doomed, "a request failed although nothing had happened to its runner"
                    raise
            self.ends["done"] += 1
        except GristmillError as error:
            if isinstance(error, ServerBusy) and str(error) == BUSY:
                assert self.manager.n_pending == self.settings.max_queue
            self.ends[type(error).__name__] += 1
        except asyncio.CancelledError:
            self.ends["left"] += 1
            raise

    async def disturb(self, tasks: list[asyncio.Task[None]]) -> None:
        rng = self.rng
        if rng.random() < 0.2:
            rng.choice(tasks[-20:]).cancel()
        if rng.random() < 0.1:
            unloading = asyncio.create_task(self.manager.unload(rng.choice(PATHS)))
            if rng.random() < 0.5:
                await asyncio.sleep(0)
                unloading.cancel()
            await asyncio.gather(unloading, return_exceptions=True)
        if self.machine.living and rng.random() < 0.1:
            runner = rng.choice(self.machine.living)
            runner.doomed = True
            runner.hangs = rng.choice(["", "steps", "answers"])
            if not runner.hangs:
                runner.died.set()

    def check(self) -> None:
        self.manager.check_integrity()
        machine = self.machine
        assert not machine.problems, machine.problems
        assert len(machine.living) + len(machine.loading) <= self.manager.limit
        assert machine.promised() <= machine.total

    async def come_to_rest(self) -> None:
        assert self.manager.n_pending == 0
        assert all((m.n_users, m.places.n_free) == (0, m.places.n) for m in self.manager.models)
        await asyncio.sleep(self.settings.keep_alive_s + 60)
        assert self.manager.models == []
        assert not self.machine.living + self.machine.loading
        await self.manager.close()
        assert len(asyncio.all_tasks()) == 1, "tasks are left over"


@pytest.fixture(autouse=True)
def virtual_clock(monkeypatch):
    for module in (crashes_module, manager_module, upkeep_module):
        monkeypatch.setattr(module, "time", virtual_time.clock())


@pytest.mark.parametrize("seed", range(40))
def test_every_request_ends_and_every_limit_holds(seed):
    schedule = Schedule(seed)
    virtual_time.run(schedule.run())
    assert schedule.ends["done"] > 10
