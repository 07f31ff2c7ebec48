"""Single requests to registries: no redirects, no cookies, no compression, and limits on what may come and when.

Addresses that are not of the internet are refused where the caller says ``guarded``, on what a name resolves to,
that is on the address that is connected to. Proxies come from the environment. Knows no tokens and no blobs.
"""

from __future__ import annotations

import asyncio
import os
import platform
import socket
import ssl
import urllib.request
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from gristmill import __version__
from gristmill.runtime.errors import cut

from ..ollama_version import OLLAMA_VERSION
from .addresses import is_private, literal_address
from .errors import RedirectRefused, RegistryError, Stalled, Transient, Unreachable
from .limits import Limits

__all__ = ["Answer", "Transport", "proxy_of", "read_limited", "within"]

_AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]]
_STREAMS = 256
_READ_BYTES = 1 << 20  # how far the loop reads ahead on one connection
_PROXY_SCHEMES = ("http", "https")


class Answer(aiohttp.ClientResponse):
    """A response that knows ``peer``, the numeric address it comes from; of a proxy where there is one."""

    peer = ""

    async def start(self, connection: Any) -> Answer:
        name = connection.transport.get_extra_info("peername") if connection.transport is not None else None
        self.peer = str(name[0]) if isinstance(name, tuple) else ""
        await super().start(connection)
        return self


class _PrivateAddress(OSError):
    """A name that resolves to nothing but addresses that we were not to connect to."""


class _PublicResolver(ThreadedResolver):
    def __init__(self, private: Callable[[str], bool]):
        super().__init__()
        self._private = private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = [known for known in await super().resolve(host, port, family) if not self._private(known["host"])]
        if not found:
            raise _PrivateAddress("private address")
        return found


class Transport:
    """Connections of one server to all registries; made on first use, inside an event loop.

    ``private`` says which numeric addresses are not of the internet; ``trusted`` hosts may have them all the same.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        private: Callable[[str], bool] = is_private,
        trusted: frozenset[str] = frozenset(),
        tls: ssl.SSLContext | None = None,
    ):
        self.limits, self.trusted, self.private = limits, trusted, private
        self._tls = tls
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def close(self) -> None:
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    @asynccontextmanager
    async def exchange(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        *,
        body: AsyncIterable[bytes] | bytes | None = None,
        guarded: bool = False,
        stall_s: float | None = None,
    ) -> AsyncIterator[Answer]:
        """One request and its answer, whatever its status. Also what fails while the body is read becomes ours.

        Raises RegistryError, most often a Transient.
        """
        host, proxy = url.host or "", proxy_of(url)
        guarded = guarded and not self._is_trusted(url)
        if guarded and (address := literal_address(host)) and self.private(address):
            raise RedirectRefused(_private(host))
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self.limits.stall_s, sock_read=stall_s or self.limits.stall_s
        )
        try:
            session = self._session(guarded and proxy is None)
            async with session.request(
                method, url, headers=headers, data=body, allow_redirects=False, proxy=proxy, timeout=timeout
            ) as response:
                assert isinstance(response, Answer)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _told(error, host) from error

    def is_private(self, url: URL, answer: Answer) -> bool:
        """Whether ``answer`` came from a private address. Behind a proxy only an address in numbers is known."""
        address = literal_address(url.host or "") or ("" if proxy_of(url) else answer.peer)
        return bool(address) and self.private(address)

    def _session(self, guarded: bool) -> aiohttp.ClientSession:
        if guarded not in self._sessions:
            self._sessions[guarded] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=_STREAMS,
                    ssl=self._tls or True,
                    use_dns_cache=False,  # an address that was checked is used once
                    resolver=_PublicResolver(self.private) if guarded else ThreadedResolver(),
                    socket_factory=self._public_socket if guarded else None,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": _user_agent(), "Accept-Encoding": "identity"},
                response_class=Answer,
                auto_decompress=False,
                read_bufsize=_READ_BYTES,
            )
        return self._sessions[guarded]

    def _public_socket(self, address: _AddressInfo) -> socket.socket:
        """The second door: whatever has come to be the address, this is what is connected to."""
        family, kind, protocol, _, where = address
        if self.private(str(where[0])):
            raise _PrivateAddress("private address")
        return socket.socket(family, kind, protocol)

    def _is_trusted(self, url: URL) -> bool:
        return bool(self.trusted & {url.host, f"{url.host}:{url.port}"})


@asynccontextmanager
async def within(seconds: float, what: str) -> AsyncIterator[None]:
    """A limit for a small thing as a whole: bytes that come one by one do not stall. Raises Stalled."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise Stalled(f"{what} did not come within {seconds:g} s") from None


def proxy_of(url: URL) -> URL | None:
    """The proxy that the environment names for ``url``; this machine is never reached through one.

    Raises RegistryError for one that is none.
    """
    host = url.host or ""
    address = literal_address(host)
    if address is not None and (address.startswith("127.") or address == "::1"):
        return None
    proxies = urllib.request.getproxies_environment()
    text = proxies.get(url.scheme) or proxies.get("all")
    if not text or urllib.request.proxy_bypass(f"{host}:{url.port}"):
        return None
    try:
        proxy = URL(text if "://" in text else f"http://{text}")
    except ValueError:
        proxy = URL()
    if proxy.scheme not in _PROXY_SCHEMES or not proxy.host:
        raise RegistryError(f"the proxy of {url.scheme.upper()}_PROXY cannot be used: it must be http://host:port")
    return proxy


async def read_limited(answer: Answer, limit: int, what: str) -> bytes:
    """The whole body. Raises RegistryError for one that is over ``limit`` bytes, or compressed."""
    if answer.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise RegistryError(f"{what} is compressed, which nobody asked for")
    body = bytearray()
    while chunk := await answer.content.readany():
        body += chunk
        if len(body) > limit:
            raise RegistryError(f"{what} is over the limit of {limit} bytes")
    return bytes(body)


def _user_agent() -> str:
    machine, system = platform.machine().lower(), platform.system().lower()
    return f"ollama/{OLLAMA_VERSION} ({machine} {system}) gristmill/{__version__}"


def _private(host: str) -> str:
    return f"redirect to private address refused: {cut(host)[1:-1]}; GRISTMILL_TRUSTED_HOSTS may allow it"


def _told(error: Exception, host: str) -> RegistryError:
    """An error of the connection in our words: the host is named, the rest of its address is not."""
    host = cut(host)[1:-1]
    match error:
        case aiohttp.ClientConnectorError() if isinstance(error.os_error, _PrivateAddress):
            return RedirectRefused(_private(host))
        case aiohttp.ClientConnectorDNSError():
            return Unreachable(f"no address found for host {host}: {_reason(error.os_error)}")
        case aiohttp.ClientProxyConnectionError():
            return Unreachable(f"no connection to the proxy for {host}: {_reason(error.os_error)}")
        case aiohttp.ClientHttpProxyError():
            return RegistryError(f"the proxy refuses the way to {host}: {error.status} {error.message}")
        case aiohttp.ClientConnectorCertificateError():
            text = getattr(error.certificate_error, "verify_message", "") or "certificate verify failed"
            return RegistryError(f"the certificate of {host} is not trusted: {text}")
        case aiohttp.ClientSSLError():
            reason = str(getattr(error.os_error, "reason", None) or "it failed").replace("_", " ").lower()
            return Unreachable(f"no TLS connection to {host}: {reason}; a registry of plain http needs insecure")
        case aiohttp.ClientConnectorError():
            return Unreachable(f"no connection to {host}: {_reason(error.os_error)}")
        case asyncio.TimeoutError():
            return Stalled(f"nothing came from {host} for too long")
        case aiohttp.ClientPayloadError() | aiohttp.ClientConnectionError() | OSError():
            return Transient(f"the connection to {host} broke")
        case _:
            return Transient(f"{host} sent something that is no HTTP")


def _reason(error: OSError) -> str:
    text = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or "it failed"
    return text.lower()
