"""/api/pull, /api/push and create from a missing model, through a server; the official client at the end."""

import json

import pytest
from aiohttp.test_utils import TestClient, TestServer
from support.fake_runner import FakeRunners
from support.model_folder import problems, tiny_gguf
from support.registry import MODEL, SMALL, SYSTEM, cut, parts_of, status

from gristmill.api.registry.transfers import Transfers
from gristmill.api.registry.transport import Transport
from gristmill.api.server import make_app
from gristmill.api.service import SERVICE
from gristmill.api.settings import Settings

ALWAYS = 10**6


@pytest.fixture
async def api(tmp_path):
    """A client of a server with small limits."""
    app = make_app(Settings(models=tmp_path / "models"), start_runner=FakeRunners())
    async with TestClient(TestServer(app, handler_cancellation=True)) as client:
        service = app[SERVICE]
        service.transfers = Transfers(service.store, Transport(SMALL))
        client.store = service.store
        yield client


async def lines(api, path, **body):
    async with api.post(path, json=body) as response:
        assert (response.status, response.content_type) == (200, "application/x-ndjson")
        return [json.loads(line) async for line in response.content]


async def error(api, path, **body):
    async with api.post(path, json=body) as response:
        return response.status, (await response.json())["error"]


async def test_pull_and_push(api, registry, model):
    name = f"{registry.host}/a/b"
    told = await lines(api, "/api/pull", model=name, insecure=True)
    assert (told[0], told[-1]) == ({"status": "pulling manifest"}, {"status": "success"})
    assert {line["digest"] for line in told if "digest" in line} == {part["digest"] for part in parts_of(model)}
    assert all("completed" not in line or line["completed"] for line in told)
    registry.manifests.clear()
    told = await lines(api, "/api/push", name=name, insecure=True)
    assert (told[0], told[-1]) == ({"status": "retrieving manifest"}, {"status": "success"})
    assert registry.manifests == {("a/b", "latest"): model}
    async with api.post("/api/pull", json={"model": name, "insecure": True, "stream": False}) as response:
        assert (response.status, await response.json()) == (200, {"status": "success"})


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/api/pull", {"model": ""}, (400, "invalid model name")),
        ("/api/pull", {"model": "a b"}, (400, "invalid model name")),
        ("/api/pull", {"model": "../../etc/passwd"}, (400, "invalid model name")),
        ("/api/pull", {"model": "m@sha256:00"}, (400, "invalid model name")),
        ("/api/pull", {"model": "http://h/a/b"}, (400, "insecure protocol http")),
        ("/api/pull", {"model": 1}, (400, "model: expected str, got int")),
        ("/api/pull", {"model": "m", "insecure": "yes"}, (400, "insecure: expected bool, got str")),
        ("/api/push", {"model": ""}, (400, "model is required")),
        ("/api/push", {"model": "a b"}, (400, "invalid model name")),
    ],
)
async def test_bad_requests(api, path, body, expected):
    assert await error(api, path, **body) == expected


@pytest.mark.parametrize("path", ["/api/pull", "/api/push"])
async def test_no_body(api, path):
    async with api.post(path) as response:
        assert (response.status, await response.json()) == (400, {"error": "missing request body"})


async def test_errors_behind_the_first_line(api, registry):
    told = await lines(api, "/api/pull", model=f"{registry.host}/a/none", insecure=True)
    assert told == [{"status": "pulling manifest"}, {"error": "pull model manifest: file does not exist"}]
    told = await lines(api, "/api/push", model="none")
    assert told[:2] == [{"status": "retrieving manifest"}, {"status": "couldn't retrieve manifest"}]
    assert told[2]["error"].endswith("no such file or directory")


async def test_errors_without_a_stream_are_500(api, registry):
    body = {"model": f"{registry.host}/a/none", "insecure": True, "stream": False}
    assert await error(api, "/api/pull", **body) == (500, "pull model manifest: file does not exist")


async def test_an_error_text_is_cut_and_clean(api, registry):
    registry.fault("manifest", status(418, "a\x1b\u2028" + "b" * 2000))
    text = (await lines(api, "/api/pull", model=f"{registry.host}/a/b", insecure=True))[-1]["error"]
    assert len(text) == 512
    assert text.isprintable()


async def test_a_client_that_leaves_stops_the_pull(api, registry, model):
    registry.fault("blob", cut(100, then="stall"), ALWAYS)
    async with api.post("/api/pull", json={"model": f"{registry.host}/a/b", "insecure": True}) as response:
        await response.content.readline()
        await registry.until(lambda: registry.count("blob") > 0)
        response.close()
    await registry.until(lambda: registry.in_flight == 0)


async def test_create_pulls_what_it_is_made_from(api, registry, model, tmp_path):
    """Over plain HTTP it would not: there is no field for it. So the name is of a registry that is not there."""
    told = await lines(api, "/api/create", **{"model": "mine", "from": f"{registry.host}/a/b", "system": "Be long."})
    assert told[0] == {"status": "pulling manifest"}
    assert "no TLS connection" in told[1]["error"]
    await lines(api, "/api/pull", model=f"{registry.host}/a/b", insecure=True)
    told = await lines(api, "/api/create", **{"model": "mine", "from": f"{registry.host}/a/b", "system": "Be long."})
    assert "pulling manifest" not in [line["status"] for line in told]
    assert api.store.find("mine").system == "Be long."
    assert api.store.find("mine").parent_model == f"{registry.host}/a/b:latest"


async def test_create_goes_on_behind_the_pull(api, registry, model, monkeypatch):
    transfers = api.server.app[SERVICE].transfers
    usual = transfers.pull
    monkeypatch.setattr(transfers, "pull", lambda name: usual(name, insecure=True))
    told = await lines(api, "/api/create", **{"model": "mine", "from": f"{registry.host}/a/b"})
    steps = list(dict.fromkeys(line["status"] for line in told))
    assert (steps[0], steps[-1]) == ("pulling manifest", "success")
    assert steps.count("success") == 1
    assert problems(api.store.root) == []


async def test_a_model_in_use_can_be_pulled_anew(api, registry):
    registry.add_model("a/b", (MODEL, tiny_gguf()), (SYSTEM, b"One."))
    name = f"{registry.host}/a/b"
    await lines(api, "/api/pull", model=name, insecure=True)
    with open(api.store.find(name).model_path, "rb") as held:  # noqa: ASYNC230 - as a runner holds it
        registry.add_model("a/b", (MODEL, tiny_gguf() + b"\0" * 32), (SYSTEM, b"Two."))
        steps = [line["status"] for line in await lines(api, "/api/pull", model=name, insecure=True)]
        assert steps[-2:] == ["removing unused layers", "success"]
        assert held.read() == tiny_gguf()
    assert api.store.find(name).system == "Two."
    assert problems(api.store.root) == []


async def test_the_official_client(api, registry, model):
    import ollama

    client = ollama.AsyncClient(host=str(api.make_url("/")))
    name = f"{registry.host}/a/b"
    steps = [step.status async for step in await client.pull(name, insecure=True, stream=True)]
    assert steps[-1] == "success"
    registry.manifests.clear()
    assert (await client.push(name, insecure=True)).status == "success"
    with pytest.raises(ollama.ResponseError, match=r"file does not exist"):
        await client.pull(f"{registry.host}/a/none", insecure=True)
    await client._client.aclose()
