"""Any few faults, at any requests: the pull ends, the store is whole, and a clean pull fetches no synced part again."""

import contextlib
import json
import random
import tempfile
from pathlib import Path

import pytest
from support.model_folder import problems, tiny_gguf
from support.registry import (
    MODEL,
    SMALL,
    Registry,
    body,
    changed,
    cut,
    hang_up,
    header,
    ignore_range,
    lines_of,
    status,
    unsized,
    wrong_bytes,
)

from gristmill.api.registry.transfers import Transfers
from gristmill.api.registry.transport import Transport
from gristmill.api.store import Store
from gristmill.runtime.errors import GristmillError

FAULTS = [
    lambda rng: cut(rng.randrange(5000)),
    lambda rng: hang_up,
    lambda rng: ignore_range,
    lambda rng: status(rng.choice([401, 403, 404, 416, 429, 500, 503])),
    lambda rng: changed(wrong_bytes),
    lambda rng: body(rng.randbytes(rng.randrange(9000)), rng.choice([200, 206])),
    lambda rng: header("Content-Range", f"bytes {rng.randrange(9)}-{rng.randrange(9000)}/{rng.randrange(9000)}"),
    lambda rng: header("ETag", f'"{rng.random()}"'),
    lambda rng: unsized(rng.randbytes(rng.randrange(3))),
]


def synced(store):
    """Bytes of each blob that its state files promise."""
    found = {}
    for path in (store.root / "blobs").glob("*-partial-*"):
        digest = path.name.partition("-partial")[0].replace("-", ":")
        found[digest] = found.get(digest, 0) + json.loads(path.read_text())["Completed"]
    return found


@pytest.mark.parametrize("seed", range(60))
async def test_random_faults(seed):
    rng = random.Random(seed)
    async with Registry() as registry:
        registry.add_model("a/b", (MODEL, tiny_gguf()), ("application/vnd.example.bulk", rng.randbytes(18_001)))
        damaged = False
        for _ in range(rng.randrange(1, 6)):
            make = rng.choice(FAULTS)
            damaged |= make in (FAULTS[4], FAULTS[5])
            registry.fault("blob", make(rng), rng.choice([1, 1, 2, 10]), rng.randrange(6))
        with tempfile.TemporaryDirectory() as folder:
            transfers = Transfers(Store(Path(folder)), Transport(SMALL))
            store = Store(Path(folder))
            with contextlib.suppress(GristmillError):
                await lines_of(transfers.pull(f"{registry.host}/a/b", insecure=True))
            known, registry.faults = synced(store), []
            registry.sent.clear()
            await lines_of(transfers.pull(f"{registry.host}/a/b", insecure=True))
            assert problems(store.root) == []
            if not damaged:
                for digest, n_bytes in known.items():
                    assert registry.sent[digest] == len(registry.blobs[digest]) - n_bytes
            await transfers.close()
