"""Which models are loaded, when, and how they make room for each other."""

import asyncio
import math
import random
from pathlib import Path

import pytest
from support.fake_runner import FakeRunners

from gristmill.api.errors import ServerBusy
from gristmill.api.manager import Manager
from gristmill.api.memory import Demand
from gristmill.api.options import LoadOptions
from gristmill.api.settings import Settings
from gristmill.api.upkeep import Upkeep
from gristmill.runtime.errors import GristmillError, OutOfMemory, RunnerError, RunnerStopped, UnsupportedModel

A, B, C = Path("a"), Path("b"), Path("c")
OPTIONS = LoadOptions(num_ctx=128, num_batch=512)
NOTHING = Demand()


@pytest.fixture
def runners():
    return FakeRunners()


@pytest.fixture
async def manager(runners):
    manager = Manager(Settings(max_loaded_models=2, max_queue=2), runners)
    yield manager
    manager.check_integrity()
    await manager.close()


async def use(manager, path, *, options=OPTIONS, keep_alive_s=None, demand=NOTHING):
    async with manager.lease(path, path.name, options, keep_alive_s, demand=demand) as lease:
        return lease.runner


async def until(condition):
    for _ in range(200):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("never happened")


async def test_a_loaded_model_is_used_again(manager, runners):
    assert await use(manager, A) is await use(manager, A)
    assert len(runners.started) == 1


async def test_concurrent_requests_share_one_load(manager, runners):
    runners.loading = asyncio.Event()
    waiting = [asyncio.create_task(use(manager, A)) for _ in range(2)]
    await asyncio.sleep(0)
    runners.loading.set()
    assert len(set(await asyncio.gather(*waiting))) == 1
    assert len(runners.started) == 1


async def test_other_options_reload_after_running_requests_have_ended(manager, runners):
    async with manager.lease(A, "a", OPTIONS, None) as first:
        other = asyncio.create_task(use(manager, A, options=LoadOptions(num_ctx=64, num_batch=512)))
        await asyncio.sleep(0.02)
        assert not other.done()
        assert first.runner.alive
    second = await other
    assert first.runner.closed
    assert second.load.num_ctx == 64


async def test_automatic_options_do_not_reload(manager, runners):
    await use(manager, A)
    await use(manager, A, options=LoadOptions())
    assert len(runners.started) == 1


async def test_an_idle_model_expires_and_a_used_one_does_not(manager, runners):
    async with manager.lease(A, "a", OPTIONS, 0.01):
        await asyncio.sleep(0.05)
        assert runners.last.alive
    await until(lambda: runners.last.closed)
    assert manager.models == []


async def test_a_request_without_keep_alive_leaves_the_setting_alone(manager):
    await use(manager, A, keep_alive_s=math.inf)
    await use(manager, A)
    assert manager.seconds_left(manager.models[0]) == math.inf


async def test_unloading_a_busy_model_waits_for_it(manager, runners):
    async with manager.lease(A, "a", OPTIONS, None):
        await manager.unload(A)
        assert runners.last.alive
    await until(lambda: runners.last.closed)


async def test_the_limit_evicts_the_idle_model_that_is_kept_for_the_shortest_time(manager, runners):
    a = await use(manager, A, keep_alive_s=100)
    b = await use(manager, B, keep_alive_s=10)
    await use(manager, C, keep_alive_s=50)
    assert b.closed
    assert not a.closed
    assert {model.name for model in manager.models} == {"a", "c"}


async def test_no_idle_model_to_evict_is_waited_for(manager):
    async with manager.lease(A, "a", OPTIONS, None), manager.lease(B, "b", OPTIONS, None):
        third = asyncio.create_task(use(manager, C))
        await asyncio.sleep(0.02)
        assert not third.done()
    assert (await third).alive


async def test_too_many_waiting_requests_are_refused_at_once(manager, runners):
    runners.loading = asyncio.Event()
    waiting = [asyncio.create_task(use(manager, path)) for path in (A, B)]
    await asyncio.sleep(0)
    with pytest.raises(ServerBusy, match=r"server busy, please try again\.  maximum pending requests exceeded"):
        await use(manager, C)
    runners.loading.set()
    await asyncio.gather(*waiting)
    await use(manager, C)


async def test_a_failed_load_leaves_nothing_behind_and_the_next_one_works(manager, runners):
    runners.load_error = UnsupportedModel("tensor x: missing")
    with pytest.raises(UnsupportedModel):
        await use(manager, A)
    assert manager.models == []
    runners.load_error = None
    assert (await use(manager, A)).alive


async def test_a_cancelled_load_leaves_nothing_behind(manager, runners):
    runners.loading = asyncio.Event()
    loading = asyncio.create_task(use(manager, A))
    await asyncio.sleep(0.01)
    loading.cancel()
    await asyncio.gather(loading, return_exceptions=True)
    assert manager.models == []
    runners.loading = None
    assert (await use(manager, A)).alive


async def test_a_dead_runner_is_replaced_but_not_again_and_again(manager, runners):
    for _ in range(4):
        runner = await use(manager, A)
        assert runner.alive
        runner.alive = False
        assert manager.models == []
        if len(runners.started) == 4:
            break
    with pytest.raises(RunnerError, match="several times within a minute"):
        await use(manager, A)


async def test_a_runner_that_stops_under_a_request_frees_its_place(manager, runners):
    async def crash():
        async with manager.lease(A, "a", OPTIONS, None) as lease:
            lease.runner.alive = False
            raise RunnerStopped("x")

    with pytest.raises(RunnerStopped):
        await crash()
    assert (await use(manager, A)).alive
    assert len(runners.started) == 2


async def test_a_runner_that_hangs_is_ended_and_replaced(manager, runners):
    first = await use(manager, A)
    first.hangs = True
    second = await use(manager, A)
    assert first.closed
    assert second is not first
    assert manager.models[0].n_users == 0


async def test_draining_waits_for_running_requests_and_takes_no_more(manager):
    async with manager.lease(A, "a", OPTIONS, None):
        await manager.drain(0.01)  # it does not end: no longer than this
        draining = asyncio.create_task(manager.drain(60))
        await asyncio.sleep(0.01)
        assert not draining.done()
        with pytest.raises(ServerBusy, match="stopping"):
            await use(manager, A)
    await draining


async def test_closing_unloads_everything(runners):
    manager = Manager(Settings(), runners)
    await use(manager, A)
    await use(manager, B)
    await manager.close()
    assert all(runner.closed for runner in runners.started)


# -- places, and waiting for them ------------------------------------------------------------------------------------


@pytest.fixture
async def narrow(runners):
    """A manager whose models have one place, and a queue for two."""
    manager = Manager(Settings(num_parallel=1, max_queue=2), runners)
    yield manager
    manager.check_integrity()
    await manager.close()


async def test_who_waits_for_a_place_in_a_loaded_model_counts_too(narrow):
    async with narrow.lease(A, "a", OPTIONS, None):
        waiting = [asyncio.create_task(use(narrow, A)) for _ in range(2)]
        await asyncio.sleep(0.01)
        assert narrow.n_pending == 2
        with pytest.raises(ServerBusy):
            await use(narrow, A)
    await asyncio.gather(*waiting)
    assert narrow.n_pending == 0


async def test_who_leaves_the_queue_is_never_started_and_frees_its_place_in_it(narrow):
    async with narrow.lease(A, "a", OPTIONS, None):
        waiting = asyncio.create_task(use(narrow, A))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert narrow.n_pending == 0
        assert narrow.models[0].n_users == 1


# -- loads at the same time ------------------------------------------------------------------------------------------


async def test_two_models_load_at_the_same_time(manager, runners):
    runners.loading = asyncio.Event()
    loads = [asyncio.create_task(use(manager, path)) for path in (A, B)]
    await asyncio.sleep(0.01)
    assert {model.name for model in manager.models} == {"a", "b"}
    assert all(model.runner is None for model in manager.models)
    runners.loading.set()
    await asyncio.gather(*loads)


async def test_a_load_goes_on_for_those_who_stay(manager, runners):
    runners.loading = asyncio.Event()
    first, second = (asyncio.create_task(use(manager, A)) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.sleep(0.01)
    runners.loading.set()
    assert (await second).alive
    assert len(runners.started) == 1


async def test_a_failed_load_fails_for_all_who_wait_for_it_and_is_not_repeated(manager, runners):
    runners.loading, runners.load_error = asyncio.Event(), UnsupportedModel("tensor x: missing")
    waiting = [asyncio.create_task(use(manager, A)) for _ in range(2)]
    await asyncio.sleep(0.01)
    runners.loading.set()
    assert all(isinstance(e, UnsupportedModel) for e in await asyncio.gather(*waiting, return_exceptions=True))
    assert manager.models == []


async def test_clients_with_different_options_each_get_their_turn(manager, runners):
    other = LoadOptions(num_ctx=64, num_batch=512)
    runners.loading = asyncio.Event()
    waiting = [asyncio.create_task(use(manager, A, options=options)) for options in (OPTIONS, other)]
    await asyncio.sleep(0.01)
    runners.loading.set()
    first, second = await asyncio.gather(*waiting)
    assert (first.load.num_ctx, second.load.num_ctx) == (128, 64)
    assert len(runners.started) == 2


async def test_giving_up_on_room_leaves_the_model_that_was_to_go(manager):
    async with manager.lease(A, "a", OPTIONS, None), manager.lease(B, "b", OPTIONS, None):
        third = asyncio.create_task(use(manager, C))
        await asyncio.sleep(0.01)
        assert any(model.unloading for model in manager.models)
        third.cancel()
        await asyncio.gather(third, return_exceptions=True)
        assert not any(model.unloading for model in manager.models)
    assert (await use(manager, A)).load.path == "a"


async def test_closing_fails_those_who_wait(runners):
    manager = Manager(Settings(), runners)
    runners.loading = asyncio.Event()
    waiting = asyncio.create_task(use(manager, A))
    await asyncio.sleep(0.01)
    await manager.close()
    with pytest.raises(ServerBusy, match="stopping"):
        await waiting


# -- memory ----------------------------------------------------------------------------------------------------------

SMALL = Demand(1000, 1)  # 1,000 bytes, and 128 for each context: what the fake runners say they take


def memory(runners, total, **settings):
    """A manager on a machine of ``total`` bytes, of which each living runner takes 1,000."""
    return Manager(Settings(**settings), runners, available=lambda: total - 1000 * n_alive(runners))


def n_alive(runners):
    return sum(runner.alive for runner in runners.started)


async def test_the_cache_holds_fewer_contexts_where_memory_is_short(runners):
    for total, n_contexts in ((1512, 4), (1511, 2), (1255, 1), (1128, 1)):
        manager = memory(runners, total)
        assert (await use(manager, A, demand=SMALL)).load.n_contexts == n_contexts
        await manager.close()


async def test_a_model_that_cannot_fit_is_refused_and_the_others_stay(runners):
    manager = memory(runners, 2600)
    a = await use(manager, A, demand=SMALL)
    with pytest.raises(OutOfMemory, match=r"requires more system memory \(.* GiB\) than is available \(.* GiB\)"):
        await use(manager, B, demand=Demand(5000, 0))
    assert a.alive
    await manager.close()


async def test_an_idle_model_goes_to_make_room(runners):
    manager = memory(runners, 2600)
    a = await use(manager, A, demand=SMALL)
    b = await use(manager, B, demand=Demand(2000, 0))
    assert (a.closed, b.alive) == (True, True)
    await manager.close()


async def test_memory_promised_to_a_load_under_way_is_not_given_twice(runners):
    manager = memory(runners, 3000)
    runners.loading = asyncio.Event()
    first = asyncio.create_task(use(manager, A, demand=Demand(2000, 0)))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(use(manager, B, demand=Demand(2000, 0)))
    await asyncio.sleep(0.01)
    assert [model.name for model in manager.models] == ["a"]
    runners.loading.set()
    assert (await first).load.path == "a"
    assert (await second).load.path == "b"
    await manager.close()


async def test_a_load_that_runs_out_of_memory_is_tried_once_more_without_idle_models(runners):
    manager = Manager(Settings(), runners)
    a = await use(manager, A)
    runners.load_errors = [OutOfMemory("no")]
    assert (await use(manager, B)).alive
    assert a.closed
    runners.load_errors = [OutOfMemory("no"), OutOfMemory("no"), OutOfMemory("no")]
    with pytest.raises(OutOfMemory):
        await use(manager, C)
    assert manager.models == []
    await manager.close()


# -- runners that hang -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hangs", [True, False])
async def test_a_runner_that_makes_no_step_under_a_request_is_ended(manager, runners, hangs):
    upkeep = Upkeep(manager._models, manager._unload, manager._discard, stall_s=0.05, look_s=0.01)
    async with manager.lease(A, "a", OPTIONS, None) as lease:
        lease.runner.running, lease.runner.hangs = 1, hangs
        for step in range(8):  # it works: nothing happens
            lease.runner.steps, lease.runner.hangs = step, False
            await asyncio.sleep(0.02)
        assert lease.runner.alive
        lease.runner.hangs = hangs
        await until(lambda: lease.runner.closed)
    await upkeep.close()
    assert (await use(manager, A)).alive


# -- any order of anything -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(25))
async def test_in_every_order_of_events_everybody_gets_an_end(seed):
    rng, runners = random.Random(seed), FakeRunners()
    limits = rng.randint(1, 3), rng.randint(1, 3), rng.randint(3, 50)
    settings = Settings(max_loaded_models=limits[0], num_parallel=limits[1], max_queue=limits[2])
    total = rng.choice([10_000, 3_500])
    manager = Manager(settings, runners, available=lambda: total - 1000 * n_alive(runners))
    ends = []

    async def request():
        options = LoadOptions(num_ctx=rng.choice([64, 64, 64, 128]), num_batch=512)
        keep_alive_s = rng.choice([None, 0, 0.001, 60])
        demand = Demand(rng.choice([1000, 2000, 9000]), 1)
        path = rng.choice([A, B, C, Path("d")])
        try:
            async with manager.lease(
                path, path.name, options, keep_alive_s, demand=demand, client=rng.choice("xyz")
            ) as lease:
                assert lease.runner.load.path == str(path)
                assert lease.runner.load.num_ctx == options.num_ctx
                await asyncio.sleep(rng.random() / 200)
                if rng.random() < 0.05:
                    lease.runner.alive = False
                    raise RunnerStopped("died")
            ends.append("done")
        except (ServerBusy, GristmillError) as error:
            ends.append(type(error).__name__)

    async def start_slowly(load, **options):
        await asyncio.sleep(rng.random() / 200)
        if rng.random() < 0.1:
            raise rng.choice([OutOfMemory("no memory"), UnsupportedModel("bad"), RunnerError("signal 9")])
        return await runners(load, **options)

    manager._start_runner = start_slowly
    tasks = []
    for _ in range(120):
        tasks.append(asyncio.create_task(request()))
        await asyncio.sleep(rng.random() / 500)
        if rng.random() < 0.2:
            rng.choice(tasks).cancel()
        if rng.random() < 0.05:
            await manager.unload(rng.choice([A, B, C]))
        manager.check_integrity()
        assert n_alive(runners) <= settings.max_loaded_models
        assert total - 1000 * n_alive(runners) >= 0
    async with asyncio.timeout(20):
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert not [r for r in results if isinstance(r, Exception)]
    assert len(ends) == sum(r is None for r in results)
    assert ends.count("done") > 10
    manager.check_integrity()
    assert manager.n_pending == 0
    assert all(model.n_users == 0 for model in manager.models)
    await manager.close()
    assert not any(runner.alive and not runner.closed for runner in runners.started)
