"""Each request has an id: taken over or made, on every answer, in every line of the log about it."""

import asyncio
import io
import json
import logging
import re

import pytest
from support.service import running_service

from gristmill.api.cli.log import KeyValueFormatter
from gristmill.api.request_ids import RequestIdFilter
from gristmill.runtime.errors import RunnerStopped
from gristmill.runtime.runner.client import STOPPED

MADE = re.compile(r"req_[0-9a-f]{24}")


@pytest.fixture
def log():
    """What the server's log would say from here on."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(KeyValueFormatter())
    handler.addFilter(RequestIdFilter())
    root = logging.getLogger("gristmill")
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


async def id_of(api, sent=None, method="GET", path="/api/tags", **options):
    headers = {} if sent is None else {"X-Request-Id": sent}
    async with api.client.request(method, path, headers=headers, **options) as response:
        await response.read()
        return response.headers["X-Request-Id"]


@pytest.mark.parametrize("sent", ["a", "x" * 128, "0af7651916cd43dd8448eb211c80319c", "a.b_c:d@e/f+g=h~i-j"])
async def test_a_safe_id_is_taken_over(api, sent):
    assert await id_of(api, sent) == sent


@pytest.mark.parametrize("sent", [None, "", "x" * 129, "a b", 'a"b', "a;b", "é", "<script>"])
async def test_another_is_replaced(api, sent):
    assert MADE.fullmatch(await id_of(api, sent))


async def test_each_request_has_its_own(api):
    assert len({await id_of(api) for _ in range(20)}) == 20


@pytest.mark.parametrize(
    ("method", "path", "data"),
    [
        ("GET", "/nothing", None),
        ("PUT", "/api/tags", None),
        ("GET", "/api/tags/", None),
        ("POST", "/api/chat", b"{"),
        ("POST", "/api/chat", b'{"model": "none"}'),
        ("POST", "/api/generate", b'{"model": "tiny", "prompt": "x"}'),
        ("POST", "/api/generate", b'{"model": "tiny", "prompt": "x", "stream": false}'),
        ("HEAD", "/", None),
    ],
)
async def test_errors_streams_and_redirects_carry_it(api, method, path, data):
    assert await id_of(api, "mine", method, path, data=data, allow_redirects=False) == "mine"


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}])
async def test_refusals_carry_it(api, headers):
    async with api.client.get("/", headers={**headers, "X-Request-Id": "mine"}) as response:
        assert (response.status, response.headers["X-Request-Id"]) == (403, "mine")


async def test_every_line_about_a_request_names_it(api, log):
    body = b'{"model": "tiny", "prompt": "x", "options": {"num_ctx": 64}}'
    await id_of(api, "first", "POST", "/api/generate", data=body)
    lines = log.getvalue().splitlines()
    assert [line for line in lines if "loaded tiny" in line and " request=first msg=" in line]
    assert " request=first " in next(line for line in lines if "POST /api/generate 200" in line)


async def test_an_error_of_the_runner_names_it_and_no_other_request_does(api, log):
    gate = asyncio.Event()
    api.runners.script = ["a", gate, RunnerStopped(STOPPED)]
    body = b'{"model": "tiny", "prompt": "a secret prompt"}'
    requests = [asyncio.create_task(id_of(api, name, "POST", "/api/generate", data=body)) for name in ("one", "two")]
    await asyncio.sleep(0.05)
    await id_of(api, "three")
    gate.set()
    assert await asyncio.gather(*requests) == ["one", "two"]
    errors = [line for line in log.getvalue().splitlines() if "level=ERROR" in line]
    assert {re.search(r"request=(\w+)", line)[1] for line in errors} == {"one", "two"}
    assert all("RunnerStopped: model runner has unexpectedly stopped" in line for line in errors)
    assert "secret" not in log.getvalue()


async def test_a_request_that_fails_unexpectedly_names_it(api, log, monkeypatch):
    monkeypatch.setattr(api.service.store, "list", lambda: 1 / 0)
    await id_of(api, "mine")
    (line,) = [line for line in log.getvalue().splitlines() if "ZeroDivisionError" in line]
    assert " level=ERROR " in line
    assert " request=mine " in line


def test_lines_about_no_request_have_none():
    record = logging.LogRecord("x", logging.INFO, "/a/b.py", 1, "up", (), None)
    assert RequestIdFilter().filter(record)
    assert "request=" not in KeyValueFormatter().format(record)


def test_a_real_server_logs_them(tmp_path):
    with running_service(tmp_path / "models") as service:
        status, _ = service.request("GET", "/api/tags")
        log = (tmp_path / f"serve-{service.port}.log").read_text()
    assert status == 200
    assert re.search(r'level=INFO source=server:\d+ request=req_[0-9a-f]{24} msg="GET /api/tags 200', log)
    assert json.dumps("stopping") in (tmp_path / f"serve-{service.port}.log").read_text()
