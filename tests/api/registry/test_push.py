"""Pushing: what is sent and what is not, and what registries do to it (D23 to D25)."""

import asyncio
import dataclasses
import hashlib

import pytest
from aiohttp import web
from support.model_folder import layer, tiny_gguf, write_manifest
from support.registry import (
    SMALL,
    Registry,
    body,
    changed,
    digest_of,
    hang_up,
    header,
    lines_of,
    redirect,
    say_nothing,
    status,
    statuses,
)

from gristmill.api.registry.errors import RegistryError
from gristmill.api.store import StoreError

ALWAYS = 10**6


@pytest.fixture
def one_by_one(make_transfers):
    """Transfers that send one blob after the other: the order of requests is known."""
    return make_transfers(dataclasses.replace(SMALL, n_uploads=1))


@pytest.fixture
def pushed(registry, store, bulk):
    """A model of the store whose name leads to the registry."""
    return stored(registry, store, bulk)


def stored(registry, store, bulk, **more):
    layers = [
        layer(store.root, "model", tiny_gguf()),
        {**layer(store.root, "application/vnd.example.bulk", bulk), **more},
        layer(store.root, "system", b"Be brief."),
    ]
    write_manifest(store.root, f"{registry.host}/a/b/v1", layers, {"model_format": "gguf"})
    return store.find(f"{registry.host}/a/b:v1")


def push(transfers, model):
    return lines_of(transfers.push(model, insecure=True))


async def arrives(registry, transfers, model):
    assert statuses(await push(transfers, model))[-1] == "success"
    assert digest_of(registry.manifests["a/b", "v1"]) == f"sha256:{model.digest}"
    assert {str(blob.digest) for blob in model.manifest.blobs} <= set(registry.blobs)
    assert registry.uploads == {}


async def test_a_model_arrives_as_it_is(registry, one_by_one, store, pushed, bulk):
    lines = await push(one_by_one, pushed)
    assert statuses(lines) == [
        *(f"pushing {blob.digest.hex[:12]}" for blob in pushed.manifest.blobs),
        "pushing manifest",
        "success",
    ]
    last = [line for line in lines if line.get("digest") == digest_of(bulk)][-1]
    assert (last["total"], last["completed"]) == (len(bulk), len(bulk))
    chunks = [seen.headers["Content-Range"] for seen in registry.seen if seen.kind == "chunk"]
    assert chunks[1:6] == ["0-4499", "4500-8999", "9000-13499", "13500-17999", "18000-18000"]
    commit = next(seen for seen in registry.seen if seen.kind == "commit" and digest_of(bulk) in seen.path)
    parts = [hashlib.md5(bulk[i : i + 4500]).digest() for i in range(0, 18_001, 4500)]
    assert f"etag={hashlib.md5(b''.join(parts)).hexdigest()}-5" in commit.path
    assert "state=a/b" in commit.path or "state=a%2Fb" in commit.path
    await arrives(registry, one_by_one, pushed)


async def test_what_is_there_is_not_sent(registry, transfers, store, pushed, bulk):
    registry.add(bulk)
    await push(transfers, pushed)
    assert registry.count("begin") == 3


async def test_a_layer_of_another_model_there_is_mounted(registry, transfers, store, bulk):
    model = stored(registry, store, bulk, **{"from": f"{registry.host}/x/y:latest"})

    async def elsewhere(registry, request):
        if request.query.get("mount") == digest_of(bulk):
            assert request.query["from"] == "x/y"
            registry.add(bulk)

    registry.fault("begin", elsewhere, ALWAYS)
    await arrives(registry, transfers, model)
    assert not any("18000-18000" in seen.headers.get("Content-Range", "") for seen in registry.seen)


async def test_a_mount_that_is_not_done_is_an_upload(registry, transfers, store, bulk):
    model = stored(registry, store, bulk, **{"from": f"{registry.host}/x/y:latest"})
    await arrives(registry, transfers, model)
    assert sum(seen.kind == "begin" and "mount=" in seen.path for seen in registry.seen) == 1


async def forget(registry, request):
    """The session is gone before the answer is made."""
    registry.uploads.pop(request.path.rpartition("/")[2])


PASSING = [
    ("hang-up", "chunk", hang_up, 1),
    ("two hang-ups at the beginning", "begin", hang_up, 2),
    ("an error", "chunk", status(500), 1),
    ("too many requests", "chunk", status(429, Retry_After="0"), 2),
    ("an error at the end", "commit", status(503), 2),
    ("silence", "chunk", say_nothing, 1),
    ("parts out of order", "chunk", status(416), 1),
    ("a forgotten session", "chunk", forget, 1),
    ("a forgotten session at the end", "commit", forget, 1),
    ("an error for a question", "head", status(502), 2),
    ("an error for the manifest", "put", status(503), 2),
    ("a relative location", "chunk", header("Location", "?state=x"), 1),
    ("no new location", "chunk", changed(lambda answer: answer.headers.pop("Location")), 2),
    ("201 for a chunk", "chunk", changed(lambda answer: answer.set_status(201)), 3),
    ("204 for a chunk", "chunk", changed(lambda answer: answer.set_status(204)), 3),
    ("204 for a blob", "commit", changed(lambda answer: answer.set_status(204)), 3),
]


@pytest.mark.parametrize(("kind", "act", "times"), [row[1:] for row in PASSING], ids=[row[0] for row in PASSING])
async def test_faults_that_pass(registry, transfers, pushed, kind, act, times):
    registry.fault(kind, act, times)
    await arrives(registry, transfers, pushed)


async def test_after_a_broken_part_only_the_rest_is_sent(registry, one_by_one, pushed, bulk):
    async def half(registry, request):
        """Takes a thousand bytes of the part, and says so when asked."""
        data = await request.content.readexactly(1000)
        registry.uploads[request.path.rpartition("/")[2]].data += data
        request.transport.abort()

    registry.fault("chunk", half, skip=2)  # the second part of the bulk
    await arrives(registry, one_by_one, pushed)
    ranges = [seen.headers["Content-Range"] for seen in registry.seen if seen.kind == "chunk"]
    assert ranges[1:5] == ["0-4499", "4500-8999", "5500-8999", "9000-13499"]


async def test_a_registry_that_does_not_say_how_much_it_has(registry, transfers, pushed):
    registry.fault("chunk", status(500), skip=2)
    registry.fault("state", status(405), ALWAYS)
    assert statuses(await push(transfers, pushed))[-1] == "success"
    assert {str(blob.digest) for blob in pushed.manifest.blobs} <= set(registry.blobs)


LASTING = [
    ("errors", "chunk", status(500, "oh"), "max retries exceeded: 500: oh"),
    ("denied", "begin", status(403, "quota\r\nexceeded\x1b[31m"), "403: quota"),
    ("a blob that is refused", "commit", status(400, "digest invalid"), "400: digest invalid"),
    ("a manifest that is refused", "put", status(400, "tag is protected"), "^push manifest: 400: tag is protected"),
    ("no place to send to", "begin", status(202), "redirects to nowhere"),
    ("a place that is none", "begin", body(b"", 202, Location="file:///etc/passwd"), "no address of a server"),
    ("redirects of a manifest", "put", redirect("/elsewhere"), "^push manifest: 307"),
]


@pytest.mark.parametrize(("kind", "act", "error"), [row[1:] for row in LASTING], ids=[row[0] for row in LASTING])
async def test_faults_that_last(registry, transfers, pushed, kind, act, error):
    registry.fault(kind, act, ALWAYS)
    with pytest.raises(RegistryError, match=error):
        await push(transfers, pushed)
    assert registry.manifests == {}
    assert registry.uploads == {}


async def test_a_token_that_runs_out_in_mid_way(make_transfers, store, bulk):
    async with Registry(needs_token=True) as registry:
        model = stored(registry, store, bulk)

        async def expire(registry, request):
            registry.tokens = {"older", "oldest"}

        registry.fault("chunk", expire, skip=2)
        await arrives(registry, make_transfers(), model)
        assert registry.count("token") == 2


class Storage:
    """A place beside the registry that takes parts by range, at once, in any order; the registry puts them together."""

    def __init__(self, registry, storage):
        self.registry, self.storage = registry, storage
        self.parts = {}
        self.at_once = 0
        registry.fault("chunk", self.send_there, ALWAYS)
        registry.fault("commit", self.put_together, ALWAYS)

    async def send_there(self, registry, request):
        await request.read()
        session = request.path.rpartition("/")[2]
        target = f"{self.storage.url}/part/{session}"
        headers = {"Location": target, "Docker-Upload-Location": f"{registry.url}{request.path}"}
        return web.Response(status=307, headers=headers)

    async def take(self, storage, request):
        session, start = request.path.rpartition("/")[2], int(request.headers["Content-Range"].partition("-")[0])
        data = await request.read()
        await asyncio.sleep(0.02)
        self.at_once = max(self.at_once, storage.in_flight)
        self.parts[session, start] = data
        return web.Response(status=200)

    async def put_together(self, registry, request):
        session = request.path.rpartition("/")[2]
        keys = sorted(key for key in self.parts if key[0] == session)
        registry.uploads[session].data = bytearray(b"".join(self.parts.pop(key) for key in keys))


async def test_parts_go_where_a_registry_sends_them_without_credentials(make_transfers, store, bulk):
    async with Registry(needs_token=True) as registry, Registry() as storage:
        model = stored(registry, store, bulk)
        storage.fault("other", Storage(registry, storage).take, ALWAYS)
        await arrives(registry, make_transfers(), model)
        assert storage.seen
        assert not any("Authorization" in seen.headers for seen in storage.seen)
        assert all(seen.method == "PUT" for seen in storage.seen)


async def test_blobs_go_side_by_side_and_not_too_many(registry, make_transfers, store, bulk):
    model = stored(registry, store, bulk)
    together = []

    async def meet(registry, request):
        """No begun upload goes on before there are as many as allowed."""
        together.append(len(registry.uploads))
        await registry.until(lambda: registry.count("begin") >= 3)

    registry.fault("chunk", meet, 3)
    lines = await lines_of(make_transfers(dataclasses.replace(SMALL, n_uploads=3)).push(model, insecure=True))
    assert statuses(lines)[-2:] == ["pushing manifest", "success"]
    assert max(together) <= 3
    for blob in model.manifest.blobs:
        completed = [line.get("completed", 0) for line in lines if line.get("digest") == str(blob.digest)]
        assert completed == sorted(completed)
        assert completed[-1] == blob.size


async def test_one_blob_that_is_refused_ends_the_others(registry, transfers, pushed, bulk):
    async def refuse_the_bulk(registry, request):
        if request.query["digest"] == digest_of(bulk):
            return web.Response(status=400, text="digest invalid")
        return await say_nothing(registry, request)

    registry.fault("commit", refuse_the_bulk, ALWAYS)
    with pytest.raises(RegistryError, match="400: digest invalid"):
        await push(transfers, pushed)
    assert registry.uploads == {}
    assert registry.manifests == {}


async def test_parts_that_go_elsewhere_go_side_by_side(registry, one_by_one, store, pushed, bulk):
    async with Registry() as place:
        storage = Storage(registry, place)
        place.fault("other", storage.take, ALWAYS)
        await arrives(registry, one_by_one, pushed)
        assert 1 < storage.at_once <= SMALL.n_parts
        commit = next(seen for seen in registry.seen if seen.kind == "commit" and digest_of(bulk) in seen.path)
        parts = [hashlib.md5(bulk[i : i + 4500]).digest() for i in range(0, 18_001, 4500)]
        assert f"etag={hashlib.md5(b''.join(parts)).hexdigest()}-5" in commit.path


ELSEWHERE = [
    ("an error", status(500), 2),
    ("a hang-up", hang_up, 2),
    ("as many errors as may be", status(503), 5),
    ("a place that is gone", status(404), 1),
]


@pytest.mark.parametrize(("act", "times"), [row[1:] for row in ELSEWHERE], ids=[row[0] for row in ELSEWHERE])
async def test_faults_of_the_place_elsewhere_that_pass(registry, one_by_one, pushed, act, times):
    async with Registry() as place:
        place.fault("other", act, times)
        storage = Storage(registry, place)
        place.fault("other", storage.take, ALWAYS)
        await arrives(registry, one_by_one, pushed)


@pytest.mark.parametrize(("code", "error"), [(403, "^403: expired"), (503, "^max retries exceeded: 503: expired")])
async def test_a_place_elsewhere_that_refuses_ends_the_push(registry, transfers, pushed, code, error):
    async with Registry() as place:
        Storage(registry, place)
        place.fault("other", status(code, "expired"), ALWAYS)
        with pytest.raises(RegistryError, match=error):
            await push(transfers, pushed)
        assert registry.manifests == {}
        assert registry.uploads == {}


async def test_a_session_on_another_host_gets_no_credentials(make_transfers, store, bulk):
    async with Registry(needs_token=True) as registry, Registry() as other:
        model = stored(registry, store, bulk)

        async def away(registry, request):
            return web.Response(status=202, headers={"Location": f"{other.url}/v2/a/b/blobs/uploads/s"})

        registry.fault("begin", away)
        await arrives(registry, make_transfers(), model)  # the other host knows no such session
        assert other.seen
        assert not any("Authorization" in seen.headers for seen in other.seen)


DAMAGES = [lambda path: path.write_bytes(b"x" * path.stat().st_size), lambda path: path.unlink()]


@pytest.mark.parametrize("damage", DAMAGES, ids=["altered", "missing"])
async def test_a_damaged_model_is_refused_before_a_byte_is_sent(registry, transfers, store, pushed, bulk, damage):
    damage(store.blob_path(pushed.manifest.layers[1].digest))
    with pytest.raises(RegistryError, match=r"^blob sha256:[0-9a-f]{64} is missing or damaged: pull or create"):
        await push(transfers, pushed)
    assert registry.seen == []


async def test_a_model_that_was_replaced_meanwhile(transfers, registry, store, pushed):
    store.copy(f"{registry.host}/a/b:v1", "other")
    write_manifest(store.root, f"{registry.host}/a/b/v1", [layer(store.root, "model", tiny_gguf())], {})
    with pytest.raises(StoreError, match=r"has just been replaced"):
        await push(transfers, pushed)


async def test_who_leaves_calls_the_upload_off(registry, one_by_one, pushed):
    registry.fault("chunk", say_nothing, ALWAYS, skip=2)
    task = asyncio.create_task(push(one_by_one, pushed))
    await registry.until(lambda: registry.count("chunk") == 3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert registry.count("cancel") == 1
    assert registry.uploads == {}
