"""A registry for tests, in this event loop: blobs and manifests in memory, tokens, uploads, and faults on demand.

``faults`` are tried in order on each request: the first that fits the kind of request answers it, and is used up.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections import Counter
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from gristmill.api.registry.limits import Limits

MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
MODEL = "application/vnd.ollama.image.model"
SYSTEM = "application/vnd.ollama.image.system"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"

# Parts of 4,000 bytes and more, all pauses short.
SMALL = Limits(
    n_parts=4,
    min_part_bytes=4000,
    max_part_bytes=20_000,
    ramp_s=0.0,
    renewal_bytes=1 << 40,
    pause_s=0.01,
    max_pause_s=0.05,
    max_retry_after_s=0.2,
    stall_s=0.4,
    document_s=2.0,
    commit_s=0.8,
    write_bytes=512,
    checkpoint_s=0.02,
    progress_s=0.02,
    lock_poll_s=0.02,
)

Act = Callable[["Registry", web.Request], Awaitable[web.StreamResponse | None]]


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


async def lines_of(lines: AsyncIterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line async for line in lines]


def statuses(lines: Iterable[dict[str, Any]]) -> list[str]:
    """Each status once, in order."""
    return list(dict.fromkeys(line["status"] for line in lines))


def parts_of(manifest: bytes) -> list[dict[str, Any]]:
    """Layers, then the config."""
    fields = json.loads(manifest)
    return [*fields["layers"], fields["config"]]


@dataclass
class Fault:
    """``kind`` of request: manifest, blob, token, head, begin, chunk, state, commit, put. ``skip`` so many first."""

    kind: str
    act: Act
    times: int = 1
    skip: int = 0


@dataclass
class Seen:
    kind: str
    method: str
    path: str
    headers: dict[str, str]

    @property
    def range(self) -> tuple[int, int] | None:
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        return (int(found[1]), int(found[2]) + 1) if found else None


@dataclass
class Upload:
    repository: str
    data: bytearray = field(default_factory=bytearray)


class Registry:
    """``async with Registry() as registry``; ``host`` is its address. ``cdn`` is where blobs redirect to."""

    def __init__(self, *, needs_token: bool = False, cdn: Registry | None = None):
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], bytes] = {}
        self.tokens: set[str] = set()
        self.needs_token, self.cdn = needs_token, cdn
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.uploads: dict[str, Upload] = {}
        self.realm = ""
        self.in_flight = 0
        self.sent: Counter[str] = Counter()
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._server = TestServer(app, host="127.0.0.1")

    async def __aenter__(self) -> Registry:
        await self._server.start_server(shutdown_timeout=0.1)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    # --- what it has ---

    def add(self, data: bytes) -> str:
        self.blobs[digest_of(data)] = data
        return digest_of(data)

    def add_model(self, path: str, *layers: tuple[str, bytes], config: Any = None, tag: str = "latest") -> bytes:
        """A model of these (media type, content) at ``namespace/model``; returns its manifest."""
        text = json.dumps({"model_format": "gguf", "model_family": "llama"} if config is None else config).encode()

        def entry(media_type: str, data: bytes) -> dict[str, Any]:
            return {"mediaType": media_type, "digest": self.add(data), "size": len(data)}

        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": entry(CONFIG_TYPE, text),
            "layers": [entry(media_type, data) for media_type, data in layers],
        }
        data = json.dumps(manifest, indent=3).encode()  # not how we would write it
        self.manifests[path, tag] = data
        return data

    # --- what it was asked ---

    def count(self, kind: str) -> int:
        return sum(seen.kind == kind for seen in self.seen)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for something that requests bring about."""
        async with asyncio.timeout(10):
            while not is_so():  # noqa: ASYNC110 - what is waited for may be anything
                await asyncio.sleep(0.005)

    def fault(self, kind: str, act: Act, times: int = 1, skip: int = 0) -> None:
        self.faults.append(Fault(kind, act, times, skip))

    # --- answers ---

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        kind = kind_of(request)
        self.seen.append(Seen(kind, request.method, str(request.rel_url), dict(request.headers)))
        self.in_flight += 1
        try:
            for fault in self.faults:
                if fault.kind == kind and fault.times > 0:
                    if fault.skip > 0:
                        fault.skip -= 1
                        continue
                    fault.times -= 1
                    answer = await fault.act(self, request)
                    if answer is not None:
                        return answer
            return await self.answer(request)
        finally:
            self.in_flight -= 1

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """What it says without a fault."""
        kind = kind_of(request)
        if kind == "token":
            token = f"token-{len(self.tokens)}"
            self.tokens.add(token)
            return web.json_response({"token": token})
        if self.needs_token and request.headers.get("Authorization", "")[len("Bearer ") :] not in self.tokens:
            return self.challenge()
        repository, _, rest = request.path.removeprefix("/v2/").rpartition("/manifests/")
        if kind == "manifest":
            data = self.manifests.get((repository, rest))
            return web.Response(body=data, content_type=MANIFEST_TYPE) if data else _missing("MANIFEST_UNKNOWN")
        if kind == "put":
            return await self._put(request, repository, rest)
        if kind == "head":
            data = self.blobs.get(request.path.rpartition("/")[2])
            if data is None:
                return web.Response(status=404)
            return web.Response(headers={"Content-Length": str(len(data))})
        if kind == "blob":
            return await self._blob(request)
        return await self._upload(request, kind)

    def challenge(self, realm: str = "") -> web.Response:
        where = realm or self.realm or f"{self.url}/token"
        header = f'Bearer realm="{where}",service="registry",scope="repository:a/b:pull,push"'
        body = {"errors": [{"code": "UNAUTHORIZED"}]}
        return web.json_response(body, status=401, headers={"WWW-Authenticate": header})

    async def _blob(self, request: web.Request) -> web.StreamResponse:
        digest = request.path.rpartition("/")[2]
        if self.cdn is not None:
            return web.Response(status=307, headers={"Location": f"{self.cdn.url}/cdn/blobs/{digest}?sig=secret"})
        data = self.blobs.get(digest)
        if data is None:
            return _missing("BLOB_UNKNOWN")
        wanted = self.seen_range(request, len(data))
        part = data[slice(*wanted)] if wanted else data
        headers = {"Content-Range": f"bytes {wanted[0]}-{wanted[1] - 1}/{len(data)}"} if wanted else {}
        self.sent[digest] += len(part)
        return web.Response(status=206 if wanted else 200, body=part, headers=headers)

    def seen_range(self, request: web.Request, total: int) -> tuple[int, int] | None:
        return Seen("", "", "", dict(request.headers)).range

    async def _put(self, request: web.Request, repository: str, tag: str) -> web.Response:
        data = await request.read()
        for part in (json.loads(data)["config"], *json.loads(data)["layers"]):
            if part["digest"] not in self.blobs:
                return web.json_response({"errors": [{"code": "MANIFEST_BLOB_UNKNOWN"}]}, status=400)
        self.manifests[repository, tag] = data
        return web.Response(status=201)

    async def _upload(self, request: web.Request, kind: str) -> web.Response:
        repository = request.path.removeprefix("/v2/").partition("/blobs/")[0]
        if kind == "begin":
            mounted = request.query.get("mount", "")
            if mounted in self.blobs:
                return web.Response(status=201)
            session = f"s{len(self.uploads)}"
            self.uploads[session] = Upload(repository)
            where = f"/v2/{repository}/blobs/uploads/{session}?state=a%2Fb"
            return web.Response(status=202, headers={"Location": where})
        session = request.path.rpartition("/")[2]
        upload = self.uploads.get(session)
        if upload is None:
            return _missing("BLOB_UPLOAD_UNKNOWN")
        headers = {"Location": f"{self.url}{request.path}?state=a%2Fb"}
        if kind == "cancel":
            del self.uploads[session]
            return web.Response(status=204)
        if kind == "chunk":
            start = int(request.headers["Content-Range"].partition("-")[0])
            body = await request.read()
            if start != len(upload.data):
                return web.Response(status=416, headers=headers)
            upload.data += body
        if kind == "commit":
            data = bytes(upload.data) + await request.read()
            if digest_of(data) != request.query["digest"]:
                return web.json_response({"errors": [{"code": "DIGEST_INVALID"}]}, status=400)
            self.add(data)
            del self.uploads[session]
            return web.Response(status=201)
        return web.Response(
            status=204 if kind == "state" else 202, headers={**headers, "Range": f"0-{max(len(upload.data) - 1, 0)}"}
        )


def kind_of(request: web.Request) -> str:
    if "/manifests/" in request.path:
        return "put" if request.method == "PUT" else "manifest"
    if "/blobs/uploads/" in request.path:
        kinds = {"POST": "begin", "PATCH": "chunk", "GET": "state", "PUT": "commit", "DELETE": "cancel"}
        return kinds[request.method]
    if "/blobs/" in request.path:
        return "head" if request.method == "HEAD" else "blob"
    return "token" if request.path.startswith("/token") else "other"


def _missing(code: str) -> web.Response:
    return web.json_response({"errors": [{"code": code, "message": "not known"}]}, status=404)


# --- faults ---


def status(code: int, text: str = "", **headers: str) -> Act:
    async def act(registry: Registry, request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=code, text=text, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return act


def body(data: bytes, code: int = 200, **headers: str) -> Act:
    async def act(registry: Registry, request: web.Request) -> web.Response:
        return web.Response(status=code, body=data, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return act


def redirect(location: str | None, code: int = 307) -> Act:
    async def act(registry: Registry, request: web.Request) -> web.Response:
        return web.Response(status=code, headers={"Location": location} if location is not None else {})

    return act


def changed(change: Callable[[web.Response], None]) -> Act:
    """The usual answer, changed before it goes out."""

    async def act(registry: Registry, request: web.Request) -> web.StreamResponse:
        answer = await registry.answer(request)
        assert isinstance(answer, web.Response)
        change(answer)
        return answer

    return act


def header(name: str, value: str) -> Act:
    return changed(lambda answer: answer.headers.update({name: value}))


def wrong_bytes(answer: web.Response) -> None:
    assert isinstance(answer.body, bytes)
    answer.body = bytes(255 - b for b in answer.body)


async def ignore_range(registry: Registry, request: web.Request) -> web.Response:
    """All of the blob, whatever part was asked for."""
    return web.Response(body=registry.blobs[request.path.rpartition("/")[2]])


def cut(n_bytes: int, *, then: str = "break", announce: int | None = None) -> Act:
    """The usual answer's first bytes; then the connection breaks, or nothing comes any more ("stall")."""

    async def act(registry: Registry, request: web.Request) -> web.StreamResponse:
        usual = await registry.answer(request)
        assert isinstance(usual, web.Response)
        data = usual.body or b""
        assert isinstance(data, bytes)
        answer = web.StreamResponse(status=usual.status, headers=usual.headers)
        answer.content_length = len(data) if announce is None else announce
        await answer.prepare(request)
        await answer.write(data[:n_bytes])
        if n_bytes >= len(data):
            return answer
        if then == "stall":
            await asyncio.sleep(20)
        await asyncio.sleep(0.02)
        assert request.transport is not None
        request.transport.abort()
        return answer

    return act


async def hang_up(registry: Registry, request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def say_nothing(registry: Registry, request: web.Request) -> web.Response:
    await asyncio.sleep(20)
    return web.Response()


def unsized(extra: bytes = b"") -> Act:
    """The usual answer in chunks, without a length, and with more at its end."""

    async def act(registry: Registry, request: web.Request) -> web.StreamResponse:
        usual = await registry.answer(request)
        assert isinstance(usual, web.Response)
        headers = {k: v for k, v in usual.headers.items() if k != "Content-Length"}
        answer = web.StreamResponse(status=usual.status, headers=headers)
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        assert isinstance(usual.body, bytes)
        await answer.write(usual.body + extra)
        await answer.write_eof()
        return answer

    return act
