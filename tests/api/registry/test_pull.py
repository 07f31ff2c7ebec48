"""Pulling without faults: what is asked, what is stored, what is said, and who shares what."""

import asyncio
import json
from dataclasses import replace

from support.model_folder import problems
from support.registry import SMALL, digest_of, lines_of, parts_of, statuses


async def test_a_model_is_stored_as_the_registry_has_it(registry, transfers, store, model, bulk):
    lines = await lines_of(transfers.pull(f"{registry.host}/a/b", insecure=True))
    assert statuses(lines) == [
        "pulling manifest",
        *(f"pulling {part['digest'][7:19]}" for part in parts_of(model)),
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    last = [line for line in lines if line.get("digest") == digest_of(bulk)][-1]
    assert (last["total"], last["completed"]) == (len(bulk), len(bulk))
    found = store.find(f"{registry.host}/a/b")
    assert found.digest == digest_of(model).removeprefix("sha256:")
    assert found.system == "Be brief."
    assert problems(store.root) == []


async def test_a_large_blob_comes_in_parts_of_four_at_least(registry, transfers, model, bulk):
    await lines_of(transfers.pull(f"{registry.host}/a/b", insecure=True))
    path = f"/v2/a/b/blobs/{digest_of(bulk)}"
    ranges = sorted(seen.range for seen in registry.seen if seen.path == path)
    assert ranges == [(0, 4500), (4500, 9000), (9000, 13500), (13500, 18000), (18000, 18001)]
    assert all(seen.headers["Accept-Encoding"] == "identity" for seen in registry.seen)


def gate(registry, blob, is_open):
    """Parts of ``blob`` wait for it; returns how many requests there were at once, for each of them."""
    at_once = []

    async def act(registry, request):
        if request.path.endswith(digest_of(blob)):
            at_once.append(registry.in_flight)
            await registry.until(is_open)

    registry.fault("blob", act, times=100)
    return at_once


async def test_a_part_that_has_come_makes_room_for_the_next_at_once(registry, make_transfers, model, bulk):
    at_once = gate(registry, bulk, lambda: True)
    transfers = make_transfers(replace(SMALL, ramp_s=3600.0))
    async with asyncio.timeout(60):
        await lines_of(transfers.pull(f"{registry.host}/a/b", insecure=True))
    assert len(at_once) >= 5
    assert max(at_once) == 1


async def test_more_streams_open_while_the_first_ones_take_their_time(registry, make_transfers, model, bulk):
    # The first asks the way and the others wait for it: four parts are left.
    at_once = gate(registry, bulk, lambda: len(at_once) == 1 or max(at_once) == 4)
    transfers = make_transfers(replace(SMALL, ramp_s=0.01))
    async with asyncio.timeout(60):
        await lines_of(transfers.pull(f"{registry.host}/a/b", insecure=True))
    assert at_once == [1, 1, 2, 3, 4]


async def test_much_is_noted_before_its_time(registry, make_transfers, store, model, bulk):
    def noted():
        files = store.blobs.path.glob(f"sha256-{digest_of(bulk)[7:]}-partial-*")
        return sum(json.loads(file.read_bytes())["Completed"] for file in files)

    at_once = gate(registry, bulk, lambda: len(at_once) == 1 or noted() >= 4000)
    transfers = make_transfers(replace(SMALL, checkpoint_s=3600.0, checkpoint_bytes=4000))
    await lines_of(transfers.pull(f"{registry.host}/a/b", insecure=True))
    assert problems(store.root) == []
