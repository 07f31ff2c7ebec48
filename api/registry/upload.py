"""One blob on its way to a registry: a session of chunks, begun, gone on with, committed or called off.

Steps of the OCI distribution specification, 1.1 ("Pushing blobs"), with the headers of Ollama's registry. Chunks go one
after the other, as the specification wants it; those that a registry sends elsewhere go side by side. Before this the
blob's content was checked. Knows no manifests.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator
from contextlib import suppress

from yarl import URL

from gristmill.runtime.errors import InvalidRequest

from ..store import Layer, Name, Store
from ..store.errors import store_errors
from .addresses import follow
from .client import RegistryClient, raise_for_status
from .errors import Refused, RegistryError, Stalled, Transient, first_error
from .partial import plan
from .retry import Tries
from .transport import Answer
from .workers import Workers

__all__ = ["Upload"]

_RANGE = re.compile(r"(?:bytes[= ])?0-(\d{1,19})", re.ASCII)
_CANCEL_S = 5.0


class _SessionGone(Transient):
    """The registry knows nothing of the upload any more."""


class Upload:
    """``run`` ends when the registry has the blob. ``completed`` counts the bytes that have gone out."""

    def __init__(self, store: Store, client: RegistryClient, blob: Layer, workers: Workers):
        self.blob = blob
        self.is_begun = False
        self._path = store.blob_path(blob.digest)
        self._client, self._workers, self._limits = client, workers, client.limits
        self._session: URL | None = None
        self._sent: dict[int, int] = {}  # how many bytes have gone out from each offset on
        self._md5s: list[bytes] | None = []  # of the parts; None when they went in other pieces
        self._is_direct = False  # parts go elsewhere: the registry cannot say what has come

    @property
    def completed(self) -> int:
        return sum(self._sent.values())

    async def run(self) -> None:
        """Raises RegistryError, StoreError. However it ends, no session is left behind at the registry."""
        tries = Tries(self._limits)
        self.is_begun = True
        try:
            while True:
                before = self.completed
                try:
                    if not await self._exists():
                        await self._send()
                    self._sent = {0: self.blob.size}
                    return
                except Transient as error:
                    if self._is_direct and self._session is not None:
                        await self._call_off(self._session)
                    if self._is_direct or isinstance(error, _SessionGone):
                        self._session = None
                    await tries.after(error, progress=self.completed - before)
        finally:
            if self._session is not None:
                await self._call_off(self._session)

    async def _exists(self) -> bool:
        async with self._client.ask("HEAD", self._client.repository.blob(self.blob.digest)) as (answer, _):
            if answer.status == 404:
                return False
            await raise_for_status(answer, self._limits)
            return answer.status == 200

    async def _send(self) -> None:
        """Begin a session, or go on with the one that broke."""
        if self._session is None:
            self._md5s, self._is_direct = [], False
            self._session = await self._begin()
            if self._session is None:
                return  # the registry has it from another model
            offset = 0
        else:
            offset = await self._accepted(self._session)
            self._md5s = None
        self._sent = {0: offset}
        try:
            async with asyncio.TaskGroup() as elsewhere:
                streams = asyncio.Semaphore(self._limits.n_parts)
                for part in plan(self.blob.size, self._limits):
                    if part.offset + part.size > offset:
                        span = range(max(part.offset, offset), part.offset + part.size)
                        await self._send_chunk(span, elsewhere, streams)
        except BaseExceptionGroup as failed:
            raise first_error(failed) from None
        await self._commit(self._session)
        self._session = None

    async def _begin(self) -> URL | None:
        url = self._client.repository.uploads
        source = self._mount_source()
        if source:
            url = url.with_query({"mount": str(self.blob.digest), "from": source})
        async with self._client.ask("POST", url, {"Content-Length": "0"}, redirects=False) as (answer, _):
            await raise_for_status(answer, self._limits)
            if answer.status == 201:
                return None
            return self._next(url, answer)

    def _mount_source(self) -> str:
        """The repository of the same registry that this layer came from, if any."""
        try:
            name = Name.parse(self.blob.from_)
        except InvalidRequest:
            return ""
        ours = self._client.repository.name
        is_other = (name.namespace, name.model) != (ours.namespace, ours.model)
        return f"{name.namespace}/{name.model}" if name.host == ours.host and is_other else ""

    async def _send_chunk(self, span: range, elsewhere: asyncio.TaskGroup, streams: asyncio.Semaphore) -> None:
        """One part, to the registry itself, or to where it says: that goes on in the task group ``elsewhere``."""
        assert self._session is not None
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(len(span)),
            "Content-Range": f"{span.start}-{span.stop - 1}",
        }
        await streams.acquire()
        answer, md5 = await self._send_body("PATCH", self._session, headers | {"X-Redirect-Uploads": "1"}, span)
        if answer.status == 307:
            self._is_direct = True
            direct = follow(self._session, answer.headers.get("Location"))
            self._session = self._next(self._session, answer, "Docker-Upload-Location")
            elsewhere.create_task(self._send_direct(direct, headers, span, self._note_md5(b""), streams))
            return
        if answer.status >= 300:
            raise RegistryError(f"{answer.status}: not an answer to an upload")
        streams.release()
        self._session = self._next(self._session, answer)
        self._note_md5(md5)

    async def _send_direct(
        self, url: URL, headers: dict[str, str], span: range, place: int, streams: asyncio.Semaphore
    ) -> None:
        """One part to a place that only takes bytes; tried again by itself."""
        tries = Tries(self._limits)
        while True:
            try:
                answer, md5 = await self._send_body("PUT", url, headers, span)
                break
            except _SessionGone:
                raise
            except Transient as error:
                await tries.after(error)
        if answer.status >= 300:
            raise RegistryError(f"{answer.status}: not an answer to an upload")
        if self._md5s is not None:
            self._md5s[place] = md5
        streams.release()

    def _note_md5(self, md5: bytes) -> int:
        """Of the next part in order; returns its place."""
        if self._md5s is None:
            return 0
        self._md5s.append(md5)
        return len(self._md5s) - 1

    async def _send_body(self, method: str, url: URL, headers: dict[str, str], span: range) -> tuple[Answer, bytes]:
        """One request with a range of the file as its body, and the body's MD5; stalls when nothing more is taken."""
        loop, limits = asyncio.get_running_loop(), self._limits
        md5 = hashlib.md5(usedforsecurity=False)
        try:
            async with asyncio.timeout(None) as deadline:

                async def body() -> AsyncIterator[bytes]:
                    self._sent[span.start] = 0
                    for offset in range(span.start, span.stop, limits.write_bytes):
                        chunk = await self._workers.run(self._read, offset, min(limits.write_bytes, span.stop - offset))
                        await self._workers.run(md5.update, chunk)
                        deadline.reschedule(loop.time() + limits.stall_s)
                        yield chunk
                        self._sent[span.start] += len(chunk)
                    deadline.reschedule(None)

                async with self._client.ask(
                    method, url, headers, body=body, redirects=False, stall_s=limits.commit_s
                ) as (answer, _):
                    await self._check_session(answer)
                    return answer, md5.digest()
        except TimeoutError:
            raise Stalled("the registry takes nothing more") from None

    def _read(self, offset: int, size: int) -> bytes:
        with store_errors("read from the model store"), open(self._path, "rb", buffering=0) as file:
            data = os.pread(file.fileno(), size, offset)
        if len(data) < size:
            raise RegistryError(f"blob {self.blob.digest} has become shorter")
        return data

    async def _check_session(self, answer: Answer) -> None:
        """Raises _SessionGone, and Transient where asking for what has come may help."""
        if answer.status == 404:
            raise _SessionGone("404: the registry has forgotten the upload")
        if answer.status == 416:
            raise Transient("416: the registry has other parts than these")
        await raise_for_status(answer, self._limits)

    async def _accepted(self, session: URL) -> int:
        """How many bytes the registry has."""
        async with self._client.ask("GET", session, redirects=False) as (answer, _):
            try:
                await self._check_session(answer)
            except Refused as error:
                raise _SessionGone(str(error)) from None
            found = _RANGE.fullmatch(answer.headers.get("Range", "").strip())
            if found is None or int(found[1]) >= self.blob.size:
                raise _SessionGone("the registry does not say how much it has")
            self._session = self._next(session, answer)
            return int(found[1]) + 1 if int(found[1]) else 0  # 0-0 stands for nothing

    async def _commit(self, session: URL) -> None:
        query = {"digest": str(self.blob.digest)}
        if self._md5s:
            whole = hashlib.md5(b"".join(self._md5s), usedforsecurity=False).hexdigest()
            query["etag"] = f"{whole}-{len(self._md5s)}"
        headers = {"Content-Length": "0"}
        async with self._client.ask(
            "PUT", session.update_query(query), headers, redirects=False, stall_s=self._limits.commit_s
        ) as (answer, _):
            await self._check_session(answer)
            if answer.status >= 300:
                raise RegistryError(f"{answer.status}: not an answer to an upload")

    def _next(self, url: URL, answer: Answer, *names: str) -> URL:
        """Where the session goes on: each answer may name another place."""
        headers = (answer.headers.get(name) for name in names or ("Docker-Upload-Location", "Location"))
        location = next(filter(None, headers), None)
        if location is None and self._session is not None:
            return self._session
        return follow(url, location)

    async def _call_off(self, session: URL) -> None:
        with suppress(RegistryError, TimeoutError):
            async with asyncio.timeout(_CANCEL_S), self._client.ask("DELETE", session, redirects=False):
                pass
