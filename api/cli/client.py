"""A small client of the HTTP API: JSON requests, streams of JSON lines, blob uploads.

Every failure becomes one ``GristmillError`` with a text for the user. Knows no command and prints nothing.
``http.client`` is imported when the first connection is made: ``gristmill --help`` needs none.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from gristmill.runtime.errors import GristmillError, cut

from ..settings import Settings
from ..store_id import STORE_HEADER
from .address import Address, read_settings

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

_CONNECT_TIMEOUT_S = 10.0
_QUICK_TIMEOUT_S = 30.0
_BLOCK_BYTES = 65536
_GREETING = b"Ollama is running"


class NoServer(GristmillError):
    """Nothing listens at the address."""


class ForeignServer(GristmillError):
    """Something listens at the address, but it does not speak the API."""


class ServerError(GristmillError):
    """The server answered with an error; ``status`` is the HTTP status, 200 for an error in mid-stream."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class Client:
    """Talks to the server at one address, one connection per request.

    ``models`` is the folder of our own settings; ``store_id`` which folder the server said that it has blobs in.
    All methods raise NoServer, ForeignServer, ServerError, or GristmillError when the connection breaks.
    """

    def __init__(
        self, address: Address, *, key: str = "", tls_ca: Path | None = None, models: Path | None = None
    ) -> None:
        self.address, self.models, self.store_id = address, models, ""
        self._key, self._tls_ca = key, tls_ca

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """A client of the configured server. Raises GristmillError for an address that is none."""
        return cls(Address.of(settings), key=settings.api_key, tls_ca=settings.tls_ca, models=settings.models)

    def is_running(self) -> bool:
        """Whether a server answers. Raises ForeignServer when some other program does."""
        try:
            with self._exchange("GET", "/", timeout_s=_CONNECT_TIMEOUT_S) as response:
                if response.read(len(_GREETING)) == _GREETING:
                    return True
                raise self._foreign(response.headers.get("Server", ""))
        except NoServer:
            return False

    def version(self) -> str:
        """The version the server reports."""
        return str(self.get("/api/version").get("version", ""))

    def get(self, path: str) -> dict[str, Any]:
        with self._exchange("GET", path, timeout_s=_QUICK_TIMEOUT_S) as response:
            return self._json(self._checked(response).read())

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer's object; ``{}`` for an empty answer."""
        return self._send("POST", path, body)

    def delete(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._send("DELETE", path, body)

    def _send(self, method: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        with self._exchange(method, path, json.dumps(body).encode()) as response:
            content = self._checked(response).read()
            return self._json(content) if content else {}

    def stream(self, path: str, body: Mapping[str, Any]) -> Generator[dict[str, Any], None, None]:
        """The objects of a streamed answer as they come; closing the iterator makes the server stop."""
        with self._exchange("POST", path, json.dumps(body).encode()) as response:
            for line in _lines(self._checked(response)):
                if not line.strip():
                    continue
                item = self._json(line)
                if "error" in item:
                    raise ServerError(str(item["error"]), response.status)
                yield item

    def has_blob(self, digest: str) -> bool:
        """Whether the server's store holds the blob ``sha256:<hex>``. Sets ``store_id``."""
        with self._exchange("HEAD", f"/api/blobs/{digest}", timeout_s=_QUICK_TIMEOUT_S) as response:
            self.store_id = response.headers.get(STORE_HEADER, "")
            return response.status == 200

    def upload_blob(self, digest: str, blocks: Iterable[bytes], n_bytes: int) -> None:
        """Stores ``blocks``, ``n_bytes`` in all, as the blob ``sha256:<hex>``; the server checks the digest."""
        headers = {"Content-Length": str(n_bytes), "Content-Type": "application/octet-stream"}
        with self._exchange("POST", f"/api/blobs/{digest}", blocks, headers) as response:
            self._checked(response).read()

    @contextmanager
    def _exchange(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> Iterator[HTTPResponse]:
        from http.client import HTTPException

        connection = self._connect()
        try:
            connection.sock.settimeout(timeout_s)
            # A server may refuse an upload before it has read it all: its answer says why.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, self.address.path + path, body, self._headers(headers))
            with connection.getresponse() as response:
                yield response
        except TimeoutError:
            raise GristmillError(f"the server at {self.address} does not answer") from None
        except HTTPException as error:
            if type(error).__name__ in ("BadStatusLine", "UnknownProtocol", "LineTooLong"):
                raise self._foreign() from None
            raise GristmillError("the server closed the connection before the answer was complete") from None
        except ConnectionError:
            raise GristmillError("the server closed the connection before the answer was complete") from None
        finally:
            connection.close()

    def _headers(self, given: Mapping[str, str] | None) -> dict[str, str]:
        key = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        return {**(given or {"Content-Type": "application/json"}), **key}

    def _connect(self) -> HTTPConnection:
        from .connect import connect

        try:
            return connect(self.address, self._tls_ca)
        except OSError:
            raise NoServer(
                f"could not connect to a server at {self.address}, run 'gristmill serve' to start it"
            ) from None

    def _checked(self, response: HTTPResponse) -> HTTPResponse:
        """``response``, or its error raised. An error no API would send makes us ask who it is that answers."""
        if response.status < 400:
            return response
        content = response.read(_BLOCK_BYTES)
        try:
            text = str(json.loads(content)["error"])
        except (ValueError, LookupError, TypeError):
            self.is_running()
            text = f"the server answered {response.status} {response.reason}"
        raise ServerError(text, response.status)

    def _json(self, content: bytes) -> dict[str, Any]:
        try:
            item = json.loads(content)
        except ValueError:
            item = None
        if not isinstance(item, dict):
            self.is_running()
            raise GristmillError(f"the server at {self.address} sent something that is no JSON object")
        return item

    def _foreign(self, name: str = "") -> ForeignServer:
        who = f"a program other than Gristmill or Ollama ({cut(name, 40)})" if name else "some other program"
        return ForeignServer(f"{who} answers at {self.address}: stop it, or set OLLAMA_HOST to a free address")


def open_client() -> Client:
    """A client of the configured server; nothing is sent yet."""
    return Client.of(read_settings())


def _lines(response: HTTPResponse) -> Iterator[bytes]:
    """The lines as they arrive. Not ``response.readline``: that takes a broken connection for the end."""
    rest = b""
    while block := response.read1(_BLOCK_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
    yield rest
