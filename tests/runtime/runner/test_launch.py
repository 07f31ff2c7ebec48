"""The spare process: taken, replaced, found dead, ended."""

import asyncio
import os
import signal

import pytest

from gristmill.runtime.params import Sampling
from gristmill.runtime.runner.client import Runner
from gristmill.runtime.runner.launch import Launcher
from gristmill.runtime.runner.messages import Load


@pytest.fixture
async def launcher():
    launcher = Launcher(delay_s=0.01)
    yield launcher
    await launcher.close()


async def spare_of(launcher):
    for _ in range(500):
        if launcher._spare is not None:
            return launcher._spare
        await asyncio.sleep(0.01)
    raise AssertionError("no spare process was launched")


async def test_a_model_loads_in_the_spare_and_the_next_one_is_launched(launcher, tiny_path):
    spare = await spare_of(launcher)
    runner = await Runner.start(Load(path=str(tiny_path), num_ctx=64, backend="reference"), launcher=launcher)
    try:
        assert runner.process is spare.process
        assert [piece async for piece in runner.submit("hello", Sampling(temperature=0, max_tokens=2))]
        assert (await spare_of(launcher)).process.pid != runner.process.pid
    finally:
        await runner.close()


async def test_a_dead_spare_is_not_given_out(launcher):
    spare = await spare_of(launcher)
    os.kill(spare.process.pid, signal.SIGKILL)
    await spare.process.wait()
    taken = await launcher.take()
    assert taken.process.pid != spare.process.pid
    taken.process.kill()
    await taken.process.wait()
    taken.link.close()


async def test_processes_taken_at_the_same_time_leave_one_spare_and_no_other(launcher):
    before = children()
    taken = await asyncio.gather(*(launcher.take() for _ in range(3)))
    await spare_of(launcher)
    await asyncio.sleep(0.1)  # any other would be launched by now
    assert len(children() - before) <= len(taken) + 1
    for launched in taken:
        launched.process.kill()
        await launched.process.wait()
        launched.link.close()
    await launcher.close()
    assert not children() - before


def children():
    with open(f"/proc/self/task/{os.getpid()}/children") as pids:
        return set(pids.read().split())


async def test_closing_ends_the_spare(launcher):
    spare = await spare_of(launcher)
    await launcher.close()
    assert spare.process.returncode is not None


async def test_without_a_spare_processes_are_launched_when_needed():
    launcher = Launcher(keep_spare=False)
    taken = await launcher.take()
    taken.process.kill()
    await taken.process.wait()
    taken.link.close()
    await asyncio.sleep(0.05)
    assert launcher._spare is None
    await launcher.close()


async def test_a_spare_ends_with_its_server(launcher):
    spare = await spare_of(launcher)
    spare.link.close()
    async with asyncio.timeout(30):
        assert await spare.process.wait() == 0
