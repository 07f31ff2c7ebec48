"""API keys: what they may do, what happens without one, and that they are nowhere to be read."""

import asyncio
import json
import logging
import socket

import pytest
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request
from support.fake_runner import FakeRunners
from support.service import running_service

from gristmill.api.access import is_local, scope_of
from gristmill.api.cli.address import Address
from gristmill.api.cli.client import Client, ServerError
from gristmill.api.keys import load_keys
from gristmill.api.server import make_app, routes
from gristmill.api.settings import Settings
from gristmill.runtime.errors import GristmillError, InvalidRequest

KEYS = "all-key, read:read-key,infer:infer-key , manage:manage-key"
OPEN = [("GET", "/"), ("HEAD", "/"), ("GET", "/api/version"), ("GET", "/api/health")]


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
async def client(tmp_path):
    app = make_app(Settings(models=tmp_path, api_keys=KEYS), start_runner=FakeRunners())
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.mark.parametrize(("method", "path"), OPEN)
async def test_what_is_open_needs_no_key(client, method, path):
    assert (await client.request(method, path)).status == 200


@pytest.mark.parametrize("route", [r for r in routes() if (r.method, r.path) not in OPEN], ids=lambda r: r.path)
async def test_every_other_route_needs_one(client, route):
    for headers in ({}, bearer("wrong"), bearer(""), {"Authorization": "Basic all-key"}, {"x-api-key": "wrong"}):
        response = await client.request(route.method, route.path, headers=headers)
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="gristmill"'


async def status_of(client, path, key=""):
    """Of a path that is sent as it is: a client library would mend it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nx-api-key: {key}\r\n\r\n".encode())
    status = (await reader.readline()).split()[1]
    writer.close()
    await writer.wait_closed()
    return int(status)


@pytest.mark.parametrize(
    "path",
    [
        *("/nothing", "/api/tags/", "//api/tags", "/api//tags", "/API/tags", "/api/version/", "/%2e"),
        *("/api/version/..", "/api/health/ready/"),
        *("/api/health/../tags", "/api/version%2f..%2ftags", "/?/api/tags/../version", "http://localhost/api/tags"),
    ],
)
async def test_odd_spellings_of_paths_open_nothing(client, path):
    status = await status_of(client, path)
    if status == 200:
        assert path.startswith("/?")  # the root itself
    else:
        assert status == 401
        assert await status_of(client, path, "read-key") in (200, 301, 404)


@pytest.mark.parametrize("headers", [bearer("all-key"), {"Authorization": "bearer  all-key"}, {"X-Api-Key": "all-key"}])
async def test_a_key_may_come_in_either_header(client, headers):
    assert (await client.get("/api/tags", headers=headers)).status == 200


@pytest.mark.parametrize(
    ("key", "allowed"),
    [
        *[("all-key", "read infer manage"), ("read-key", "read")],
        *[("infer-key", "read infer"), ("manage-key", "read manage")],
    ],
)
async def test_scopes(client, key, allowed):
    requests = {"read": ("GET", "/api/ps"), "infer": ("POST", "/api/chat"), "manage": ("DELETE", "/api/delete")}
    for scope, (method, path) in requests.items():
        response = await client.request(method, path, headers=bearer(key), data=b"{}")
        if scope in allowed.split():
            assert response.status != 403
        else:
            assert response.status == 403
            assert (await response.json())["error"] == f"this API key may not do that: it needs the scope {scope}"


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        *[("GET", "/api/tags", "read"), ("POST", "/api/show", "read"), ("HEAD", "/api/blobs/{digest}", "read")],
        *[("POST", "/api/generate", "infer"), ("POST", "/v1/chat/completions", "infer"), ("GET", "/v1/models", "read")],
        *[("POST", "/api/blobs/{digest}", "manage"), ("POST", "/api/create", "manage"), ("POST", "/new", "manage")],
        ("POST", "", "read"),
    ],
)
def test_the_scope_of_a_route(method, path, scope):
    assert scope_of(method, path) == scope


async def test_errors_have_the_shape_of_the_api_that_was_asked(client):
    async def error(path):
        response = await client.post(path, headers={"X-Request-Id": "mine"})
        assert response.status == 401
        return await response.json()

    native = await error("/api/chat")
    assert native == {"error": "an API key is needed: send it as Authorization: Bearer KEY, or as x-api-key"}
    text = native["error"]
    openai = {"message": text, "type": "authentication_error", "param": None, "code": None}
    assert await error("/v1/chat/completions") == {"error": openai}
    anthropic = {"type": "error", "error": {"type": "authentication_error", "message": text}, "request_id": "mine"}
    assert await error("/v1/messages") == anthropic
    assert await error("/v1/messages/count_tokens") == anthropic
    assert await error("/v1/messagesx") == {"error": openai}


async def test_a_preflight_needs_no_key_and_a_refusal_can_be_read_by_the_page(client):
    page = {"Origin": "http://localhost:3000"}
    assert (await client.options("/api/chat", headers=page)).status == 204
    refused = await client.get("/api/tags", headers=page)
    assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (401, page["Origin"])


async def test_the_refusal_comes_before_the_body(client):
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(b"POST /api/create HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 401")
    writer.close()
    await writer.wait_closed()


async def test_without_keys_nobody_is_asked(tmp_path):
    app = make_app(Settings(models=tmp_path), start_runner=FakeRunners())
    async with TestClient(TestServer(app)) as client:
        assert (await client.get("/api/tags")).status == 200
        assert (await client.get("/api/tags", headers=bearer("any"))).status == 200
        assert (await client.get("/metrics")).status == 200


# -- reading them ----------------------------------------------------------------------------------------------


def keys_of(text, tmp_path):
    (tmp_path / "keys").write_text(text)
    return load_keys(Settings(api_keys_file=tmp_path / "keys"))


def test_a_file_has_one_on_each_line(tmp_path):
    keys = keys_of("# ours\n\n  one \nread:two  # the page\nread:three\r\ninfer:three\nfour==\n", tmp_path)
    assert keys.scopes("one") == keys.scopes("four==") == {"read", "infer", "manage"}
    assert keys.scopes("two") == {"read"}
    assert keys.scopes("three") == {"read", "infer"}
    for wrong in ("", "ours", "read:two", "on", "onee", "ONE", "\udcff", "ключ"):
        assert not keys.scopes(wrong)


def test_keys_of_the_environment_and_of_the_file_count_together(tmp_path):
    (tmp_path / "keys").write_text("one")
    keys = load_keys(Settings(api_keys="two", api_keys_file=tmp_path / "keys"))
    assert keys.scopes("one")
    assert keys.scopes("two")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "GRISTMILL_API_KEYS_FILE holds no key"),
        ("# none\n\n", "GRISTMILL_API_KEYS_FILE holds no key"),
        ("good\nwrite:hidden1", "line 2 begins with no scope; use read:, infer:, manage: or none"),
        (":hidden1", "line 1 begins with no scope"),
        ("read:infer:hidden1", "line 1 begins with no scope"),
        ("hid den1", "line 1 is no key"),
        ("hidden1" * 50, "line 1 is no key"),
        ("read:", "line 1 is no key"),
        ("hidd\u00e9n1", "line 1 is no key"),
    ],
)
def test_what_is_no_key_stops_the_start_and_is_not_repeated(tmp_path, text, error):
    with pytest.raises(InvalidRequest, match=error) as raised:
        keys_of(text, tmp_path)
    assert "hid" not in str(raised.value)


def test_settings_without_a_key_do_not_open_the_server(tmp_path):
    for settings in (Settings(api_keys=" , "), Settings(api_keys_file=tmp_path / "absent")):
        with pytest.raises(InvalidRequest, match="GRISTMILL_API_KEYS"):
            make_app(settings)


def test_a_client_key_that_is_none_is_not_sent_and_not_shown(caplog):
    with caplog.at_level(logging.WARNING):
        assert Settings.from_env({"GRISTMILL_API_KEY": "se\r\ncret"}).api_key == ""
    assert "GRISTMILL_API_KEY is not valid" in caplog.text
    assert "cret" not in caplog.text


def test_the_settings_do_not_show_them():
    assert "secret" not in repr(Settings(api_keys="secret1", api_key="secret2"))


# -- the warning, and local clients ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "warns"),
    [
        ({"host": "127.0.0.1"}, False),
        ({"host": "localhost"}, False),
        ({"host": "::1"}, False),
        ({"host": "0.0.0.0"}, True),
        ({"host": ""}, True),
        ({"host": "192.0.2.1"}, True),
        ({"host": "0.0.0.0", "api_keys": "one"}, False),
        ({"scheme": "unix", "host": "", "socket": "/s"}, False),
    ],
)
def test_a_server_that_is_open_to_others_warns_once(tmp_path, caplog, settings, warns):
    with caplog.at_level(logging.WARNING):
        make_app(Settings(models=tmp_path, **settings), start_runner=FakeRunners())
    assert len([r for r in caplog.records if "no API key is asked for" in r.getMessage()]) == warns


class Transport:
    def __init__(self, peername, family=socket.AF_INET):
        self.info = {"peername": peername, "socket": socket.socket(family), "sslcontext": None}

    def get_extra_info(self, name, default=None):
        return self.info.get(name, default)


@pytest.mark.parametrize(
    ("peername", "family", "expected"),
    [
        (("127.0.0.1", 1), socket.AF_INET, True),
        (("127.8.8.8", 1), socket.AF_INET, True),
        (("::1", 1, 0, 0), socket.AF_INET6, True),
        (("::ffff:127.0.0.1", 1, 0, 0), socket.AF_INET6, True),
        (("::ffff:192.0.2.1", 1, 0, 0), socket.AF_INET6, False),
        (("fe80::1%lo", 1, 0, 0), socket.AF_INET6, False),
        (("10.0.0.1", 1), socket.AF_INET, False),
        ("", socket.AF_UNIX, True),
        (None, socket.AF_INET, False),
    ],
)
def test_who_is_local(peername, family, expected):
    transport = Transport(peername, family)
    try:
        assert is_local(make_mocked_request("GET", "/", transport=transport)) is expected
    finally:
        transport.info["socket"].close()


@pytest.mark.parametrize(
    ("settings", "key", "status"),
    [
        ({}, "", 403),
        ({"metrics": True}, "", 200),
        ({"metrics": False}, "", 403),
        ({"api_keys": "one"}, "", 401),
        ({"api_keys": "one"}, "one", 200),
        ({"api_keys": "one", "metrics": True}, "", 200),
        ({"api_keys": "one", "metrics": False}, "one", 404),
    ],
)
async def test_metrics_for_clients_elsewhere(tmp_path, monkeypatch, settings, key, status):
    monkeypatch.setattr("gristmill.api.access.is_local", lambda request: False)
    app = make_app(Settings(models=tmp_path, **settings), start_runner=FakeRunners())
    async with TestClient(TestServer(app)) as client:
        response = await client.get("/metrics", headers=bearer(key) if key else {})
        assert response.status == status
        if status == 403:
            assert "GRISTMILL_METRICS=1" in (await response.json())["error"]


# -- a whole server --------------------------------------------------------------------------------------------


def test_a_real_server_and_the_command_line_client(tmp_path):
    with running_service(tmp_path / "models", GRISTMILL_API_KEYS="infer:secret-one,secret-two") as service:
        address = Address("http", "127.0.0.1", service.port)
        assert Client(address).is_running()
        with pytest.raises(ServerError, match="an API key is needed") as raised:
            Client(address).get("/api/tags")
        assert raised.value.status == 401
        assert Client(address, key="secret-two").get("/api/tags") == {"models": []}
        with pytest.raises(GristmillError, match="needs the scope manage"):
            Client(address, key="secret-one").delete("/api/delete", {"model": "x"})
        assert json.loads(service.request("GET", "/api/tags")[1])["error"].startswith("an API key is needed")
        with socket.create_connection(("127.0.0.1", service.port)) as broken:
            broken.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret-\x00two\r\n\r\n")
            assert broken.recv(12) == b"HTTP/1.0 400"
        log = (tmp_path / f"serve-{service.port}.log").read_text()
    assert "not HTTP: " in log
    assert "GET /api/tags 401" in log
    assert "secret" not in log
