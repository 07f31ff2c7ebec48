"""Instants in which two things happen to a model at once, each of which has gone wrong somewhere, in virtual time."""

import asyncio
from pathlib import Path

import pytest
from support import virtual_time
from support.fake_runner import FakeRunners

from gristmill.api import crashes as crashes_module
from gristmill.api import manager as manager_module
from gristmill.api import upkeep as upkeep_module
from gristmill.api.errors import ServerBusy
from gristmill.api.manager import Manager
from gristmill.api.memory import Demand
from gristmill.api.options import LoadOptions
from gristmill.api.settings import Settings
from gristmill.runtime.errors import OutOfMemory, RunnerError

A, B, C = Path("a"), Path("b"), Path("c")
OPTIONS = LoadOptions(num_ctx=128, num_batch=512)


@pytest.fixture(autouse=True)
def virtual_clock(monkeypatch):
    for module in (crashes_module, manager_module, upkeep_module):
        monkeypatch.setattr(module, "time", virtual_time.clock())


class World:
    """A manager with fake runners, and what tests do with it."""

    def __init__(self, available=lambda: None, **settings):
        self.runners = FakeRunners()
        self.manager = Manager(Settings(**settings), self.start, available=available)
        self.before_start = {}

    async def start(self, load, **options):
        if load.path in self.before_start:
            await self.before_start.pop(load.path)()
        return await self.runners(load, **options)

    def lease(self, path, *, keep_alive_s=None, demand=Demand(), options=OPTIONS):  # noqa: B008
        return self.manager.lease(path, path.name, options, keep_alive_s, demand=demand)

    async def use(self, path, seconds=0.0, **options):
        async with self.lease(path, **options) as lease:
            await asyncio.sleep(seconds)
            assert lease.runner.alive, f"the runner of {path} was closed under its request"
            return lease.runner


def in_virtual_time(**settings):
    """Runs a test ``async def (world)``; the account must be right at its end."""

    def decorate(test):
        def run():
            async def main():
                world = World(**settings)
                await test(world)
                world.manager.check_integrity()
                await world.manager.close()

            virtual_time.run(main())

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return decorate


@in_virtual_time()
async def test_a_request_comes_as_idle_models_go_for_a_load_without_memory(world):
    await world.use(A)
    requests = []

    async def fail():
        requests.append(asyncio.create_task(world.use(A, 1)))
        raise OutOfMemory("no")

    world.before_start["b"] = fail
    assert (await world.use(B)).alive
    assert (await requests[0]).load.path == "a"


@in_virtual_time(max_loaded_models=3)
async def test_a_request_comes_as_two_models_expire_at_the_same_time(world):
    await asyncio.gather(world.use(A, keep_alive_s=10), world.use(B, keep_alive_s=10))
    closing = {str(r.load.path): r for r in world.runners.started}
    requests = []
    close = closing["a"].close

    async def close_slowly():
        requests.append(asyncio.create_task(world.use(B, 20)))
        await asyncio.sleep(5)
        await close()

    closing["a"].close = close_slowly
    await asyncio.sleep(60)
    assert (await requests[0]).load.path == "b"


@in_virtual_time()
async def test_who_asked_for_an_unload_leaves_before_it_is_done(world):
    first = await world.use(A)
    ending = asyncio.Event()

    async def close():  # told to end, it ends, whoever waits for it
        asyncio.get_running_loop().call_later(1, ending.set)
        await ending.wait()
        first.alive, first.closed = False, True

    first.close = close
    unloading = asyncio.create_task(world.manager.unload(A))
    await asyncio.sleep(0.1)
    unloading.cancel()
    await asyncio.gather(unloading, return_exceptions=True)
    assert await world.use(A, 10) is not first


@in_virtual_time(max_loaded_models=1)
async def test_a_model_that_was_to_go_and_stays_expires_all_the_same(world):
    busy = asyncio.create_task(world.use(A, 10, keep_alive_s=30))
    await asyncio.sleep(1)
    evicting = asyncio.create_task(world.use(B))
    await asyncio.sleep(1)
    busy.add_done_callback(lambda _: evicting.cancel())  # in the instant in which A becomes idle
    await asyncio.gather(busy, evicting, return_exceptions=True)
    await asyncio.sleep(60)
    assert world.manager.models == []


@in_virtual_time(max_loaded_models=1)
async def test_a_request_for_a_model_that_was_to_go_and_stays_uses_it(world):
    busy = asyncio.create_task(world.use(A, 100))
    await asyncio.sleep(1)
    evicting = asyncio.create_task(world.use(B))
    await asyncio.sleep(1)
    again = asyncio.create_task(world.use(A))
    await asyncio.sleep(1)
    evicting.cancel()
    runner = await again
    assert not busy.done()
    assert await busy is runner
    assert len(world.runners.started) == 1


@in_virtual_time(max_loaded_models=1, load_timeout_s=300)
async def test_waiting_for_room_ends_with_the_load_timeout(world):
    busy = asyncio.create_task(world.use(A, 1000))
    await asyncio.sleep(1)
    started = asyncio.get_running_loop().time()
    with pytest.raises(ServerBusy, match="no room"):
        await world.use(B)
    assert 299 < asyncio.get_running_loop().time() - started < 302
    assert not any(model.unloading for model in world.manager.models)
    await busy


@in_virtual_time(max_loaded_models=2)
async def test_whichever_model_becomes_idle_first_makes_room(world):
    long = asyncio.create_task(world.use(A, 200, keep_alive_s=1))  # the one that would go first
    short = asyncio.create_task(world.use(B, 5, keep_alive_s=100))
    await asyncio.sleep(1)
    await world.use(C)
    assert short.done()
    assert not long.done()
    await long


@in_virtual_time(max_loaded_models=2)
async def test_a_dead_model_makes_room_before_a_living_one(world):
    dead = await world.use(B, keep_alive_s=100)
    living = await world.use(A, keep_alive_s=1)
    dead.alive = False
    await world.use(C)
    assert living.alive


@in_virtual_time()
async def test_runners_that_die_while_loading_are_not_started_again_and_again(world):
    started = []

    async def die():
        started.append(1)
        raise RunnerError("model runner has terminated while loading: signal 11")

    for _ in range(10):
        world.before_start["a"] = die
        with pytest.raises(RunnerError):
            await world.use(A)
    assert len(started) == 4
    await asyncio.sleep(61)
    world.before_start.clear()
    await world.use(A)


@in_virtual_time(available=lambda: 1500)
async def test_what_fits_alone_waits_for_a_load_to_end_instead_of_being_refused(world):
    """The machine has 1,500 bytes left while A, which is predicted to take 2,000, is half loaded."""
    half = asyncio.Event()

    async def load():
        half.set()
        await asyncio.sleep(10)

    world.manager._room._available = lambda: 3000 if not half.is_set() else 1500
    world.before_start["a"] = load
    first = asyncio.create_task(world.use(A, demand=Demand(2000, 0)))
    await half.wait()
    second = asyncio.create_task(world.use(B, demand=Demand(2500, 0)))
    await asyncio.sleep(1)
    world.manager._room._available = lambda: 3000 - 1000 * sum(r.alive for r in world.runners.started)
    await first
    assert (await second).load.path == "b"


@in_virtual_time()
async def test_a_machine_that_slept_has_no_hanging_runners(world):
    async with world.lease(A) as lease:
        lease.runner.running = 1
        await asyncio.sleep(20)
        asyncio.get_running_loop().virtual.now += 3600
        await asyncio.sleep(20)
        assert lease.runner.alive
        await asyncio.sleep(60)
        assert lease.runner.closed


@in_virtual_time()
async def test_a_runner_that_waits_but_starts_nothing_is_ended(world):
    async with world.lease(A) as lease:
        lease.runner.waiting = 1
        await asyncio.sleep(100)
        assert lease.runner.closed


@in_virtual_time()
async def test_a_runner_that_is_too_busy_for_a_ping_but_talks_is_well(world):
    runner = await world.use(A)
    runner.hangs, runner.silent_s = True, 1.0
    assert await world.use(A) is runner
    runner.silent_s = 11.0
    assert await world.use(A) is not runner


@in_virtual_time()
async def test_a_runner_that_cannot_be_ended_does_not_stop_others_from_expiring(world):
    first = await world.use(A, keep_alive_s=1)

    async def fail():
        first.alive = False
        raise OSError("no such thing")

    first.close = fail
    await world.use(B, keep_alive_s=10)
    await asyncio.sleep(20)
    assert world.manager.models == []


@in_virtual_time(num_parallel=8)
async def test_clients_with_different_contexts_share_each_reload(world):
    """Eight clients of each kind, always one request under way: a reload serves all of a kind who wait."""
    n_rounds, done = 10, []

    async def client(num_ctx):
        for _ in range(n_rounds):
            runner = await world.use(A, 1, options=LoadOptions(num_ctx=num_ctx, num_batch=512))
            assert runner.load.num_ctx == num_ctx
            done.append(num_ctx)

    await asyncio.gather(*(client(num_ctx) for num_ctx in [64, 128] * 8))
    assert len(done) == 16 * n_rounds
    assert len(world.runners.started) <= 2 * n_rounds
