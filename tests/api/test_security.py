"""Host and Origin, on a server that is bound to loopback."""

import pytest
from aiohttp.test_utils import TestClient, TestServer
from support.fake_runner import FakeRunners

from gristmill.api.security import is_local_host
from gristmill.api.server import make_app
from gristmill.api.settings import Settings
from gristmill.runtime.errors import InvalidRequest


@pytest.fixture
async def client(tmp_path):
    app = make_app(
        Settings(models=tmp_path, origins=("chrome-extension://*", "https://ok.example")), start_runner=FakeRunners()
    )
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST:11434", "127.0.0.1", "[::1]", "[::1]:80", "me", "a.localhost", "a.local"),
        *("b.internal:1", "10.1.2.3", "192.168.0.7:99", "0.0.0.0", ""),
    ],
)
def test_hosts_of_this_machine_and_private_networks_are_local(host):
    assert is_local_host(host, "me")


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil.localhost.example"),
        *(
            "2130706433",
            "0x7f000001",
            "8.8.8.8",
            "192.0.2.1",
            "[2001:4860:4860::8888]",
            "me@evil.example",
            "localhost.",
        ),
        *("[fe80::1%eth0]", "a\tb"),
    ],
)
def test_other_hosts_are_not(host):
    assert not is_local_host(host, "me")


async def test_a_foreign_host_is_refused_without_a_body(client):
    response = await client.get("/api/tags", headers={"Host": "evil.example"})
    assert (response.status, await response.read()) == (403, b"")


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost", 200),
        ("http://localhost:3000", 200),
        ("https://127.0.0.1:1", 200),
        ("vscode-webview://abc", 200),
        ("chrome-extension://xyz", 200),
        ("https://ok.example", 200),
        ("https://evil.example", 403),
        ("null", 403),
        ("http://localhost.evil.example", 403),
        ("http://localhost:1.evil.example", 403),
        ("moz-extension://xyz", 403),
    ],
)
async def test_origins(client, origin, status):
    response = await client.get("/api/version", headers={"Origin": origin})
    assert response.status == status
    assert response.headers.get("Access-Control-Allow-Origin") == (origin if status == 200 else None)
    if status == 200:
        assert response.headers["Vary"] == "Origin"
    preflight = await client.options("/api/chat", headers={"Origin": origin})
    assert preflight.status == (204 if status == 200 else 403)


async def test_errors_carry_cors_headers_too(client):
    response = await client.post("/api/chat", data=b"", headers={"Origin": "http://localhost"})
    assert response.status == 400
    assert response.headers["Access-Control-Allow-Origin"] == "http://localhost"


@pytest.mark.parametrize("origin", ["example.com", "ftp", "http://*.a.*"])
def test_an_origin_that_is_none_stops_the_start(tmp_path, origin):
    with pytest.raises(InvalidRequest, match=r"OLLAMA_ORIGINS: .* is not an origin"):
        make_app(Settings(models=tmp_path, origins=(origin,)))
