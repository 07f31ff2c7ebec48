"""Which models are loaded, when, and how they make room for each other."""

import asyncio
import math
from pathlib import Path

import pytest
from support.fake_runner import FakeRunners

from gristmill.api.errors import ServerBusy
from gristmill.api.manager import Manager
from gristmill.api.options import LoadOptions
from gristmill.api.settings import Settings
from gristmill.runtime.errors import RunnerError, RunnerStopped, UnsupportedModel

A, B, C = Path("a"), Path("b"), Path("c")
OPTIONS = LoadOptions(num_ctx=128, num_batch=512)


@pytest.fixture
def runners():
    return FakeRunners()


@pytest.fixture
async def manager(runners):
    manager = Manager(Settings(max_loaded_models=2, max_queue=2), runners)
    yield manager
    await manager.close()


async def use(manager, path, *, options=OPTIONS, keep_alive_s=None):
    async with manager.lease(path, path.name, options, keep_alive_s) as lease:
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
