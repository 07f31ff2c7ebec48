"""Liveness and readiness: what each says, and what each asks for."""

import asyncio
import json
import sys
import threading

import pytest
from aiohttp.test_utils import TestClient, TestServer
from support.fake_runner import FakeRunners

from gristmill.api import readiness
from gristmill.api.manager import Manager
from gristmill.api.readiness import Readiness
from gristmill.api.server import make_app
from gristmill.api.settings import Settings


@pytest.fixture
async def manager():
    manager = Manager(Settings(max_queue=1), FakeRunners())
    yield manager
    await manager.close()


async def test_liveness_answers_with_the_time_since_the_start(api):
    first = json.loads((await api.send("GET", "/api/health"))[2])
    second = json.loads((await api.send("GET", "/api/health"))[2])
    assert first["status"] == second["status"] == "ok"
    assert 0 <= first["uptime"] <= second["uptime"]


async def test_a_server_with_or_without_models_is_ready(api, tmp_path, manager):
    assert json.loads((await api.send("GET", "/api/health/ready"))[2]) == {"status": "ready"}
    assert await Readiness(manager, tmp_path / "not there yet").reasons() == []


async def test_reasons_are_a_503(api):
    await api.service.manager.drain(0)
    status, content_type, data = await api.send("GET", "/api/health/ready")
    assert (status, content_type) == (503, "application/json; charset=utf-8")
    assert json.loads(data) == {"status": "not ready", "reasons": ["the server is stopping"]}
    assert (await api.send("GET", "/api/health"))[0] == 200  # it still lives


async def test_a_full_queue_is_a_reason(tmp_path, manager):
    with manager._pending():
        assert await Readiness(manager, tmp_path).reasons() == ["the queue is full"]
    assert await Readiness(manager, tmp_path).reasons() == []


async def test_a_folder_that_cannot_be_read_is_a_reason(tmp_path, manager):
    (tmp_path / "manifests").write_text("no folder")
    assert await Readiness(manager, tmp_path).reasons() == ["the model folder cannot be read: not a directory"]


async def test_a_folder_that_does_not_answer_is_waited_for_by_one_thread(tmp_path, manager, monkeypatch):
    gate, entered = threading.Event(), []

    def hang(root):
        entered.append(root)
        gate.wait(30)

    monkeypatch.setattr(readiness, "_list", hang)
    tried = Readiness(manager, tmp_path, try_s=0.02, keep_s=0)
    for _ in range(3):
        assert "the model folder does not answer" in await tried.reasons()
    assert len(entered) == 1
    gate.set()
    patient = Readiness(manager, tmp_path, keep_s=0)
    assert await patient.reasons() == []


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (("/no/such/program",), "no process can be started: no such file or directory"),
        ((sys.executable, "-c", "raise SystemExit(3)"), "a process that was to do nothing ended with status 3"),
    ],
)
async def test_a_process_that_cannot_be_started_is_a_reason(tmp_path, manager, command, reason):
    assert await Readiness(manager, tmp_path, command=command).reasons() == [reason]


async def test_a_process_that_takes_too_long_is_a_reason_and_is_ended(tmp_path, manager):
    command = (sys.executable, "-c", "import time; time.sleep(600)")
    tried = Readiness(manager, tmp_path, command=command, try_s=0.3)
    assert await tried.reasons() == ["a process takes too long to start"]


async def test_many_who_ask_at_once_start_one_process(tmp_path, manager):
    started = tmp_path / "started"
    command = (sys.executable, "-c", f"open({str(started)!r}, 'a').write('x')")
    tried = Readiness(manager, tmp_path, command=command, keep_s=600)
    assert await asyncio.gather(*(tried.reasons() for _ in range(20))) == [[]] * 20
    assert started.read_text() == "x"


async def test_readiness_needs_a_key_where_there_are_keys_and_liveness_none(tmp_path):
    app = make_app(Settings(models=tmp_path, api_keys="one"), start_runner=FakeRunners())
    async with TestClient(TestServer(app)) as client:
        assert (await client.get("/api/health")).status == 200
        assert (await client.get("/api/health/ready")).status == 401
        assert (await client.get("/api/health/ready", headers={"x-api-key": "one"})).status == 200
