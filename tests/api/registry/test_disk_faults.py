"""Any system call of a pull fails once: what is listed is whole, and the next pull ends well (hardening D20, F4)."""

import errno
import random

import pytest
from support.failing_disk import failing_disk
from support.model_folder import problems, tiny_gguf
from support.registry import MODEL, SMALL, SYSTEM, Registry, digest_of, lines_of

from gristmill.api.registry.transfers import Transfers
from gristmill.api.registry.transport import Transport
from gristmill.api.store import Store
from gristmill.runtime.errors import GristmillError

ERRORS = [errno.ENOSPC, errno.EMFILE, errno.EIO]
N_ROUNDS = 24
MAX_CALLS = 250


def model_of(registry, i):
    """A small model with a blob of a few parts; its manifest's digest."""
    bulk = random.Random(i).randbytes(9000)
    return digest_of(registry.add_model("a/b", (MODEL, tiny_gguf()), ("x/bulk", bulk), (SYSTEM, b"%d" % i)))


async def failure_of(lines):
    """What the error says that ends a pull, or nothing."""
    try:
        await lines_of(lines)
    except GristmillError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.get)
async def test_a_pull_in_which_a_call_fails(tmp_path, number):
    store, rng = Store(tmp_path / "models"), random.Random(number)
    hits, n_failed = set(), 0
    async with Registry() as registry:
        name = f"{registry.host}/a/b"
        digests = [model_of(registry, 0)]
        transfers = Transfers(store, Transport(SMALL))
        await lines_of(transfers.pull(name, insecure=True))
        for i in range(N_ROUNDS):
            digests.append(model_of(registry, i + 1))
            with failing_disk(store.root, 1 + rng.randrange(MAX_CALLS) * (i + 1) // N_ROUNDS, number) as disk:
                told = await failure_of(transfers.pull(name, insecure=True))
            n_failed += bool(told)
            assert str(tmp_path) not in told
            hits.add(disk.hit)
            assert [f"sha256:{model.digest}" for model in Store(store.root).list()][-1] in digests[-2:]
            await lines_of(transfers.pull(name, insecure=True))
            assert [f"sha256:{model.digest}" for model in store.list()] == digests[-1:]
        await transfers.close()
    assert n_failed
    assert len(hits) > 1
    assert [problem for problem in problems(store.root) if ".tmp-" not in problem and "partial" not in problem] == []
