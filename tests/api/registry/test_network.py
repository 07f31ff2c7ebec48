"""The way to a registry: private addresses, proxies, TLS, and who is asked at all (D3, D26, D27)."""

import asyncio
import os
import socket
import ssl

import pytest
import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer
from support.model_folder import tiny_gguf
from support.registry import MODEL, SMALL, Registry, lines_of, redirect, statuses
from yarl import URL

from gristmill.api.registry.addresses import is_private
from gristmill.api.registry.errors import RedirectRefused, RegistryError
from gristmill.api.registry.transport import proxy_of


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *("::1", "::", "fe80::1%eth0", "fd00::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "2002:7f00:1::"),
        *("224.0.0.1", "255.255.255.255", "ff02::1", "64:ff9b:1::808:808", "64:ff9b::7f00:1"),
        *("127.1", "2130706433", "0x7f000001", "", "what"),
    ],
)
def test_private_addresses(address):
    assert is_private(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses(address):
    assert not is_private(address)


def second_loopback(address):
    """In these tests 127.0.0.1 is the internet, and all the rest is not."""
    return address != "127.0.0.1"


HOSTS = ["127.0.0.2", "[::1]", "127.2", "2130706434", "0x7f000002", "0x7f.2", "0177.2", "10.0.0.1"]


@pytest.mark.parametrize("host", HOSTS)
async def test_a_public_registry_does_not_lead_to_private_addresses(registry, make_transfers, model, host):
    transfers = make_transfers(private=second_loopback)
    registry.fault("blob", redirect(f"http://{host}:{registry.host.partition(':')[2]}/x"))
    with pytest.raises(RedirectRefused, match=r"^redirect to private address refused: "):
        await lines_of(transfers.pull(f"{registry.host}/a/b", insecure=True))


@pytest.mark.parametrize("resolved", [["127.0.0.2"], ["127.0.0.2", "127.0.0.3"], ["127.0.0.2", "127.0.0.1"]])
async def test_names_are_looked_at_by_their_addresses(registry, make_transfers, model, monkeypatch, resolved):
    """Of several addresses only the public ones are connected to."""
    port = int(registry.host.partition(":")[2])
    usual = socket.getaddrinfo

    def lookup(host, *args, **options):
        if host != "cdn.example":
            return usual(host, *args, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in resolved]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    registry.fault("blob", redirect(f"http://cdn.example:{port}/v2/a/b/blobs/x"), 10**6)
    error = "private address refused: cdn.example" if "127.0.0.1" not in resolved else "more than 10 times"
    with pytest.raises(RedirectRefused, match=error):
        await lines_of(make_transfers(private=second_loopback).pull(f"{registry.host}/a/b", insecure=True))


async def test_a_private_registry_leads_where_it_likes(make_transfers):
    async with Registry() as cdn, Registry(cdn=cdn) as registry:
        registry.add_model("a/b", (MODEL, tiny_gguf()))
        cdn.blobs = registry.blobs
        assert statuses(await lines_of(make_transfers().pull(f"{registry.host}/a/b", insecure=True)))[-1] == "success"


async def test_trust_is_for_the_hosts_that_are_named(registry, make_transfers, model):
    port = registry.host.partition(":")[2]
    registry.fault("blob", redirect(f"http://127.0.0.2:{port}/x"), 10)
    for trusted, error in (({"127.0.0.2"}, "no connection to 127.0.0.2"), ({"127.0.0.3"}, "private address")):
        transfers = make_transfers(private=second_loopback, trusted=frozenset(trusted))
        with pytest.raises(RegistryError, match=error):
            await lines_of(transfers.pull(f"{registry.host}/a/b", insecure=True))


# --- proxies ---


@pytest.mark.parametrize(
    ("url", "env", "proxy"),
    [
        ("https://r.example/x", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("https://r.example/x", {"https_proxy": "p:1"}, "http://p:1"),
        ("https://r.example/x", {"HTTP_PROXY": "http://p:1"}, None),
        ("http://r.example/x", {"HTTP_PROXY": "http://u:w@p:1"}, "http://u:w@p:1"),
        ("https://r.example/x", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "example"}, None),
        ("https://r.example/x", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, None),
        ("https://r.example:5/x", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "other,r.example"}, None),
        ("http://127.0.0.1:5/x", {"HTTP_PROXY": "http://p:1"}, None),
        ("http://localhost:5/x", {"HTTP_PROXY": "http://p:1"}, None),
    ],
)
def test_proxies_of_the_environment(monkeypatch, url, env, proxy):
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert proxy_of(URL(url)) == (URL(proxy) if proxy else None)


@pytest.mark.parametrize("value", ["socks5://p:1", "http://", "http://["])
def test_a_proxy_that_cannot_be_used(monkeypatch, value):
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(RegistryError, match=r"^the proxy of HTTPS_PROXY cannot be used"):
        proxy_of(URL("https://r.example/x"))


@pytest.fixture
async def proxy(monkeypatch):
    """A proxy that refuses tunnels and sends others away: a list of (method, what was asked for)."""
    asked = []

    async def handle(reader, writer):
        line = (await reader.readline()).decode()
        while (await reader.readline()).strip():
            pass
        asked.append(line.split()[:2])
        refused = b"HTTP/1.1 407 Proxy Authentication Required\r\n"
        away = b"HTTP/1.1 307 Away\r\nLocation: http://10.0.0.1/x\r\n"
        writer.write((refused if asked[-1][0] == "CONNECT" else away) + b"Content-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    yield asked
    server.close()
    await server.wait_closed()


async def test_a_proxy_that_wants_a_password(proxy, transfers):
    with pytest.raises(RegistryError, match=r"^pull model manifest: the proxy refuses the way to r.example: 407"):
        await lines_of(transfers.pull("r.example/a/b"))
    assert proxy == [["CONNECT", "r.example:443"]]


async def test_behind_a_proxy_addresses_in_numbers_are_refused(proxy, transfers, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", os.environ["HTTPS_PROXY"])
    with pytest.raises(RegistryError, match=r"redirect to private address refused: 10\.0\.0\.1"):
        await lines_of(transfers.pull("r.example/a/b", insecure=True))
    assert proxy == [["GET", "http://r.example/v2/a/b/manifests/latest"]]


async def test_no_proxy_there(transfers, monkeypatch, unused_tcp_port):
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{unused_tcp_port}")
    with pytest.raises(RegistryError, match=r"^pull model manifest: no connection to the proxy for r.example: "):
        await lines_of(transfers.pull("r.example/a/b"))


# --- TLS ---


@pytest.mark.parametrize(
    ("names", "trusted", "error"),
    [
        (["127.0.0.1"], True, "not a manifest"),
        (["127.0.0.1"], False, "the certificate of 127.0.0.1 is not trusted: "),
        (["other.example"], True, "the certificate of 127.0.0.1 is not trusted: "),
    ],
)
async def test_certificates(make_transfers, names, trusted, error):
    authority = trustme.CA()
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(server_side)
    client_side = ssl.create_default_context()
    if trusted:
        authority.configure_trust(client_side)
    app = web.Application()
    app.router.add_get("/{path:.*}", _hello)
    server = TestServer(app, host="127.0.0.1", scheme="https")
    await server.start_server(ssl=server_side)
    try:
        with pytest.raises(RegistryError, match=rf"^pull model manifest: {error}"):
            await lines_of(make_transfers(SMALL, tls=client_side).pull(f"127.0.0.1:{server.port}/a/b"))
    finally:
        await server.close()


async def _hello(request):
    return web.Response(text="hello")


async def test_a_registry_without_tls(registry, transfers, model):
    with pytest.raises(RegistryError, match=r"^pull model manifest: no TLS connection to 127.0.0.1: "):
        await lines_of(transfers.pull(f"{registry.host}/a/b"))
