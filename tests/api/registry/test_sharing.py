"""Who pulls at once: two clients, two servers, Ollama before us; what lies in the store already (D16 to D22)."""

import asyncio
import errno
import json
import os
import threading
from contextlib import aclosing

import pytest
from support.model_folder import problems, tiny_gguf
from support.registry import MODEL, SMALL, SYSTEM, Registry, cut, digest_of, lines_of, parts_of, status, statuses

from gristmill.api.registry.errors import RegistryError
from gristmill.api.registry.partial import Part, PartialBlob, plan
from gristmill.api.registry.verify import Verified
from gristmill.api.registry.workers import Workers
from gristmill.api.store import Layer, Store, StoreError, parse_digest

ALWAYS = 10**6


def pull(transfers, registry, name="a/b"):
    return lines_of(transfers.pull(f"{registry.host}/{name}", insecure=True))


def blob_file(store, digest, end=""):
    return store.root / "blobs" / (digest.replace(":", "-") + end)


async def test_two_pulls_fetch_each_byte_once(registry, transfers, store, model):
    registry.add_model("a/c", *[(p["mediaType"], registry.blobs[p["digest"]]) for p in parts_of(model)[:-1]])
    answers = await asyncio.gather(*(pull(transfers, registry, name) for name in ("a/b", "a/b", "a/c")))
    assert all(statuses(lines)[-1] == "success" for lines in answers)
    assert registry.sent == {digest: len(data) for digest, data in registry.blobs.items()}
    assert len(store.list()) == 2
    assert problems(store.root) == []


async def test_the_last_client_to_leave_ends_the_download(registry, transfers, store, model, bulk):
    registry.fault("blob", cut(1000, then="stall"), ALWAYS, skip=1)
    pulls = [asyncio.create_task(pull(transfers, registry)) for _ in range(2)]
    await registry.until(lambda: registry.in_flight >= 3)
    pulls[0].cancel()
    await asyncio.sleep(0.1)
    assert registry.in_flight >= 3
    pulls[1].cancel()
    await asyncio.gather(*pulls, return_exceptions=True)
    await registry.until(lambda: registry.in_flight == 0)


async def test_who_waits_for_a_download_that_fails_tries_by_itself(transfers, store, bulk):
    async with Registry() as bad, Registry() as good:
        for registry in (bad, good):
            registry.add_model("a/b", ("application/vnd.example.bulk", bulk))
        bad.fault("blob", status(503, Retry_After="1"), 3)
        bad.fault("blob", status(403, "no"), ALWAYS)
        first = asyncio.create_task(pull(transfers, bad))
        await bad.until(lambda: bad.count("blob") > 0)
        second = await pull(transfers, good)
        assert statuses(second)[-1] == "success"
        with pytest.raises(RegistryError, match=r"403: no"):
            await first


async def test_two_servers_on_one_store(registry, make_transfers, store, model):
    others = [make_transfers(store=Store(store.root)) for _ in range(2)]
    await asyncio.gather(*(pull(transfers, registry) for transfers in others))
    assert registry.sent == {digest: len(data) for digest, data in registry.blobs.items()}
    assert problems(store.root) == []


async def test_what_another_server_puts_in_place_of_a_bad_blob_stays(registry, make_transfers, store, model, bulk):
    path, workers = blob_file(store, digest_of(bulk)), Workers()
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * len(bulk))
    verified = Verified(store, workers)
    examined = await verified.examine(Layer("application/vnd.example.bulk", parse_digest(digest_of(bulk)), len(bulk)))
    await pull(make_transfers(), registry)
    verified.set_aside(parse_digest(digest_of(bulk)), examined.file)
    workers.close()
    assert not examined.is_good
    assert path.read_bytes() == bulk


async def test_what_ollama_has_begun_is_gone_on_with(registry, transfers, store, model, bulk):
    digest = digest_of(bulk)
    blob_file(store, digest).parent.mkdir(parents=True)
    done = {0: (0, 10_000, 7000), 1: (10_000, 8001, 8001)}
    data = bytearray(len(bulk))
    for n, (offset, size, completed) in done.items():
        data[offset : offset + completed] = bulk[offset : offset + completed]
        state = {"N": n, "Offset": offset, "Size": size, "Completed": completed}
        blob_file(store, digest, f"-partial-{n}").write_text(json.dumps(state))
    blob_file(store, digest, "-partial").write_bytes(data)
    await pull(transfers, registry)
    assert registry.sent[digest] == 3000
    assert problems(store.root) == []


BROKEN = [
    b"",
    b"{}",
    b"\xff" * 5000,
    b'{"N":0,"Offset":0,"Size":18001,"Completed":-1}',
    b'{"N":0,"Offset":0,"Size":18001,"Completed":18002}',
    b'{"N":0,"Offset":0,"Size":9000,"Completed":0}',
    b'{"N":0,"Offset":0,"Size":0,"Completed":0}',
    b'{"N":0,"Offset":1,"Size":18000,"Completed":0}',
    b'{"N":3,"Offset":0,"Size":18001,"Completed":0}',
    b'{"N":0,"Offset":0,"Size":18001,"Completed":9000}',  # but the file is short
    b'{"N":0,"Offset":0,"Size":1e400,"Completed":0}',
]


@pytest.mark.parametrize("state", BROKEN)
async def test_state_that_cannot_be_is_not_used(registry, transfers, store, model, bulk, state):
    digest = digest_of(bulk)
    blob_file(store, digest).parent.mkdir(parents=True)
    blob_file(store, digest, "-partial-0").write_bytes(state)
    blob_file(store, digest, "-partial").write_bytes(b"short")
    await pull(transfers, registry)
    assert registry.sent[digest] == len(bulk)
    assert problems(store.root) == []


async def test_state_of_wrong_bytes_costs_one_more_download_and_no_error(registry, transfers, store, model, bulk):
    digest = digest_of(bulk)
    blob_file(store, digest).parent.mkdir(parents=True)
    blob_file(store, digest, "-partial-0").write_bytes(b'{"N":0,"Offset":0,"Size":18001,"Completed":9000}')
    blob_file(store, digest, "-partial").write_bytes(b"x" * len(bulk))
    await pull(transfers, registry)
    assert registry.sent[digest] == len(bulk) + 9001
    assert problems(store.root) == []


def test_parts_are_ollamas():
    from gristmill.api.registry.limits import Limits

    limits = Limits()
    assert [part.size for part in plan(250_000_000, limits)] == [100_000_000, 100_000_000, 50_000_000]
    assert {part.size for part in plan(3_200_000_000, limits)} == {200_000_000}
    assert max(part.size for part in plan(40_000_000_000, limits)) == 1_000_000_000
    assert plan(0, limits) == []


async def test_a_damaged_blob_is_fetched_again(registry, transfers, store, model, bulk):
    await pull(transfers, registry)
    path = blob_file(store, digest_of(bulk))
    path.write_bytes(b"x" * len(bulk))
    registry.sent.clear()
    lines = await pull(transfers, registry)
    assert statuses(lines)[-1] == "success"
    assert registry.sent == {digest_of(bulk): len(bulk)}
    blob_file(store, digest_of(bulk), "-bad").unlink()
    assert problems(store.root) == []


@pytest.mark.parametrize("content", [b"", b"short"])
async def test_a_short_blob_is_fetched_again(registry, transfers, store, model, bulk, content):
    blob_file(store, digest_of(bulk)).parent.mkdir(parents=True)
    blob_file(store, digest_of(bulk)).write_bytes(content)
    await pull(transfers, registry)
    assert store.find(f"{registry.host}/a/b").system == "Be brief."


async def test_what_is_there_is_not_fetched_but_said(registry, transfers, store, model, bulk):
    await pull(transfers, registry)
    registry.sent.clear()
    lines = await pull(transfers, registry)
    assert registry.sent == {}
    said = [line for line in lines if line.get("digest") == digest_of(bulk)]
    assert [(line["total"], line["completed"]) for line in said] == [(len(bulk), len(bulk))]


async def test_a_name_in_other_letters_is_the_stored_one(registry, transfers, store, model):
    await pull(transfers, registry)
    registry.manifests["A/B", "latest"] = model
    await pull(transfers, registry, "A/B")
    assert [model.name.short for model in store.list()] == [f"{registry.host}/a/b:latest"]


async def test_a_model_that_is_deleted_meanwhile(registry, transfers, store, model):
    await pull(transfers, registry)
    async with aclosing(transfers.pull(f"{registry.host}/a/b", insecure=True)) as lines:
        async for line in lines:
            if line["status"] == "verifying sha256 digest":
                store.delete(f"{registry.host}/a/b")
    assert store.find(f"{registry.host}/a/b").system == "Be brief."


@pytest.mark.parametrize("call", ["pwrite", "fsync", "ftruncate"])
async def test_a_full_disk(registry, transfers, store, model, bulk, monkeypatch, call):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(StoreError, match=r"^cannot (write to|lock) .*: no space left on device; make"):
            await pull(transfers, registry)
    assert store.list() == []
    await pull(transfers, registry)
    assert problems(store.root) == []


async def test_a_sync_that_fails_ends_the_pull(registry, transfers, store, model, monkeypatch):
    def fails(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    registry.fault("blob", cut(1000, then="stall"), ALWAYS, skip=1)
    monkeypatch.setattr(os, "fdatasync", fails)
    with pytest.raises(StoreError, match=r"input/output error"):
        await pull(transfers, registry)
    assert store.list() == []


async def test_too_little_space_is_said_before_a_byte_comes(registry, transfers, store, model, monkeypatch):
    usual = os.statvfs

    def small(path):
        found = usual(path)
        return os.statvfs_result((found.f_bsize, found.f_frsize, found.f_blocks, 0, 0, *found[5:]))

    monkeypatch.setattr(os, "statvfs", small)
    with pytest.raises(StoreError, match=r"no space left on device"):
        await pull(transfers, registry)
    assert registry.count("blob") == 0


async def test_a_write_that_was_lost_is_noticed(registry, transfers, store, model, monkeypatch):
    """What the disk holds is hashed, not what the network brought."""
    usual = os.pwrite
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", lambda fd, data, offset: usual(fd, bytes(len(data)), offset))
        with pytest.raises(RegistryError, match=r"^digest mismatch"):
            await pull(transfers, registry)
    assert store.list() == []
    await pull(transfers, registry)
    assert problems(store.root) == []


async def test_links_are_not_followed(registry, transfers, store, model, bulk, tmp_path):
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    blob_file(store, digest_of(bulk)).parent.mkdir(parents=True)
    blob_file(store, digest_of(bulk), "-partial").symlink_to(outside)
    with pytest.raises(StoreError):
        await pull(transfers, registry)
    assert outside.read_bytes() == b"mine"


def test_the_files_of_a_download_are_one_owners(tmp_path):
    digest = parse_digest("sha256:" + "0" * 64)
    first, second = (PartialBlob(tmp_path, digest) for _ in range(2))
    assert first.open()
    assert not second.open()
    second.close()
    first.prepare(10, [Part(0, 0, 10)])
    first.save([(Part(0, 0, 10), 4)])
    first.close()
    assert second.open()
    assert [(part.n, part.completed) for part in second.load(10)] == [(0, 4)]
    assert second.load(11) == []
    second.close()


def test_tidying_up_takes_old_downloads_that_nobody_is_at(tmp_path):
    store = Store(tmp_path)
    held, left = (parse_digest(f"sha256:{digit * 64}") for digit in "01")
    blobs = {digest: PartialBlob(store.root / "blobs", digest) for digest in (held, left)}
    for digest, file in blobs.items():
        assert file.open()
        os.utime(blob_file(store, str(digest), "-partial"), (0, 0))
    blobs[left].close()
    store.prune()
    assert blob_file(store, str(held), "-partial").exists()
    assert not blob_file(store, str(left), "-partial").exists()
    blobs[held].close()


async def test_a_model_without_large_parts_and_an_empty_blob(registry, transfers, store):
    registry.add_model("a/b", (MODEL, tiny_gguf()), (SYSTEM, b""))
    await pull(transfers, registry)
    assert problems(store.root) == []


async def test_the_loop_is_free_while_blobs_are_hashed(registry, make_transfers, store, monkeypatch):
    """Everything that touches the disk happens in other threads."""
    loop_thread = threading.get_ident()
    calls = []
    for name in ("pwrite", "pread", "fsync", "rename"):
        usual = getattr(os, name)

        def noted(*args, usual=usual, name=name):
            calls.append((name, threading.get_ident()))
            return usual(*args)

        monkeypatch.setattr(os, name, noted)
    registry.add_model("a/b", (MODEL, tiny_gguf()), (SYSTEM, b"x" * 30_000))
    await pull(make_transfers(SMALL), registry)
    assert {name for name, _ in calls} == {"pwrite", "pread", "fsync", "rename"}
    assert all(thread != loop_thread for _, thread in calls)
