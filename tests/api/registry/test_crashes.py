"""kill -9 at random moments of a pull: the store is the old one or the new one, and the next pull goes on.

``GRISTMILL_ROUNDS`` sets how often (default 12).
"""

import asyncio
import json
import os
import random
import time

import pytest
from support.model_folder import problems, tiny_gguf
from support.registry import MODEL, digest_of, lines_of
from support.zygote import Zygote

from gristmill.api.store import Store

ROUNDS = int(os.environ.get("GRISTMILL_ROUNDS", "12"))
PULL = """
import asyncio, dataclasses
from pathlib import Path
from support.registry import SMALL
from gristmill.api.registry.transfers import Transfers
from gristmill.api.registry.transport import Transport
from gristmill.api.store import Store
from gristmill.runtime import checkpoint

LIMITS = dataclasses.replace(SMALL, checkpoint_s=0.003)

async def pull(root, name):
    transfers = Transfers(Store(Path(root)), Transport(LIMITS))
    async for line in transfers.pull(name, insecure=True):
        pass
    await transfers.close()

def work(job):
    asyncio.run(pull(*job))
"""


@pytest.fixture(scope="module")
def zygote():
    with Zygote(PULL) as zygote:
        yield zygote


async def slowly(registry, request):
    await asyncio.sleep(random.uniform(0, 0.1))


async def list_until(store, moment, allowed):
    """Others look on meanwhile; they see one model, the old one or the new one."""
    while time.monotonic() < moment:
        assert [model.digest for model in store.list()] in allowed
        await asyncio.sleep(0.002)


def promised(store):
    """Bytes that the state files of unfinished blobs say are synced."""
    return {path.name: json.loads(path.read_text())["Completed"] for path in store.blobs.path.glob("*-partial-*")}


def expect_no_garbage(store):
    late = time.time() - 7200
    for path in store.blobs.path.iterdir():
        os.utime(path, (late, late))
    store.prune()
    used = {blob.digest.file_name for model in store.list() for blob in model.manifest.blobs}
    assert {path.name for path in store.blobs.path.iterdir()} == used


@pytest.mark.slow
async def test_a_pull_that_is_killed_leaves_the_old_model_or_the_new_one(registry, make_transfers, store, zygote):
    rng = random.Random(3)
    name = f"{registry.host}/a/b"
    n_old = n_begun = 0
    before = []
    whole_s = 0.25  # how long a pull takes that is not killed; machines differ, and what else they do
    for i in range(ROUNDS):
        bulk = random.Random(i).randbytes(40_000)
        after = [digest_of(registry.add_model("a/b", (MODEL, tiny_gguf()), ("x/bulk", bulk))).partition(":")[2]]
        registry.fault("blob", slowly, 10**6)
        await asyncio.to_thread(zygote.start, [str(store.root), name])
        await list_until(Store(store.root), time.monotonic() + rng.uniform(0, 1.2 * whole_s), ([], before, after))
        await asyncio.to_thread(zygote.kill)
        now = Store(store.root)
        models = [model.digest for model in now.list()]
        assert models in (before, after)
        n_old += models == before
        whole_s *= 1.1 if models == before else 0.85
        known = promised(now)
        n_begun += bool(known)
        for part in known:
            data = now.blobs.path / part.rpartition("-")[0]
            assert data.is_file() or (data.parent / data.name.removesuffix("-partial")).is_file(), "no bytes, a note"
        registry.faults.clear()
        await lines_of(make_transfers(store=now).pull(name, insecure=True))
        assert [model.digest for model in now.list()] == after
        now.prune()
        assert [text for text in problems(store.root) if ".tmp-" not in text] == []
        before = after
    assert n_old  # or it was never killed in time
    assert n_begun
    expect_no_garbage(Store(store.root))
    print(f"{ROUNDS} kills, {n_old} before the model was there, {n_begun} with parts of blobs")
