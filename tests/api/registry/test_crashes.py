"""kill -9 at random moments of a pull: the store is the old one or the new one, and the next pull goes on."""

import asyncio
import contextlib
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from support.model_folder import problems, tiny_gguf
from support.registry import MODEL, lines_of

from gristmill.api.store import Store

N_ROUNDS = 12
TESTS = str(Path(__file__).parents[2])
PULL = """
import asyncio, sys
from pathlib import Path
from support.registry import SMALL
from gristmill.api.registry.transfers import Transfers
from gristmill.api.registry.transport import Transport
from gristmill.api.store import Store

async def main(root, name):
    transfers = Transfers(Store(Path(root)), Transport(SMALL))
    print("ready", flush=True)
    async for line in transfers.pull(name, insecure=True):
        pass
    await transfers.close()

asyncio.run(main(*sys.argv[1:]))
"""


async def slowly(registry, request):
    await asyncio.sleep(0.02)


async def killed_pull(store, name, after_s):
    """A process that pulls, until it is killed."""
    env = {**os.environ, "PYTHONPATH": TESTS}
    command = [sys.executable, "-c", PULL, str(store.root), name]
    process = await asyncio.create_subprocess_exec(*command, env=env, stdout=subprocess.PIPE)
    await process.stdout.readline()
    await asyncio.sleep(after_s)
    with contextlib.suppress(ProcessLookupError):  # it was faster
        process.kill()
    await process.wait()


@pytest.mark.slow
async def test_a_pull_that_is_killed_leaves_the_old_model_or_the_new_one(registry, make_transfers, store):
    rng = random.Random(3)
    name = f"{registry.host}/a/b"
    n_old = 0
    for i in range(N_ROUNDS):
        registry.add_model("a/b", (MODEL, tiny_gguf()), ("x/bulk", random.Random(i).randbytes(40_000)))
        before = [model.digest for model in store.list()]
        registry.fault("blob", slowly, 10**6)
        await killed_pull(store, name, rng.uniform(0, 0.15))
        now = Store(store.root)
        if [model.digest for model in now.list()] == before:
            n_old += 1
        registry.faults.clear()
        await lines_of(make_transfers(store=now).pull(name, insecure=True))
        now.prune()
        leftovers = [problem for problem in problems(store.root) if ".tmp-" not in problem]
        assert leftovers == []
    assert n_old  # or it was never killed in time
