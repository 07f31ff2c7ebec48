"""Pulling without faults: what is asked, what is stored, what is said, and who shares what."""

from support.model_folder import problems
from support.registry import digest_of, lines_of, parts_of, statuses


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
