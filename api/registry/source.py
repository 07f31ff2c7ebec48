"""Where the bytes of one blob come from: the registry, or the address that it redirects to. Ranges are checked here.

Knows no files.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from yarl import URL

from ..store import Layer
from .addresses import origin_of
from .client import RegistryClient, raise_for_status
from .errors import Changed, RangesIgnored, Refused, RegistryError, Transient
from .transport import Answer

__all__ = ["BlobSource"]

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})", re.ASCII)
_STALE = (401, 403, 404, 410)  # what a signed address says when its time is over


class BlobSource:
    """Opens any range of ``blob``. Where the registry's redirect has led once, the next requests go directly."""

    def __init__(self, client: RegistryClient, blob: Layer):
        self.blob = blob
        self._client = client
        self._direct: URL | None = None
        self._etag = ""
        self._first = asyncio.Lock()
        self._is_known = False

    @asynccontextmanager
    async def open(self, start: int, stop: int) -> AsyncIterator[Answer]:
        """An answer whose body is the bytes from ``start`` to ``stop``, or less if it breaks, or more if it lies.

        Raises Transient, Changed, RangesIgnored for a whole blob where a part was asked for, other RegistryErrors.
        """
        whole = (start, stop) == (0, self.blob.size)
        headers = {} if whole else {"Range": f"bytes={start}-{stop - 1}"}
        async with AsyncExitStack() as asking:
            await asking.enter_async_context(self._first)  # one asks the way, the others wait for it
            if self._is_known:
                await asking.aclose()
            direct = self._direct
            url = direct or self._client.repository.blob(self.blob.digest)
            async with self._client.ask("GET", url, headers) as (answer, found):
                if direct is not None and answer.status in _STALE:
                    self._direct = None
                    raise Transient(f"{answer.status}: the address of the blob is no longer good")
                await self._check(answer, start, stop)
                self._direct = found if origin_of(found) != self._client.repository.origin else None
                self._is_known = True
                await asking.aclose()
                yield answer

    async def _check(self, answer: Answer, start: int, stop: int) -> None:
        if answer.status == 416:
            raise Changed("416: the registry has no such part of the blob")
        try:
            await raise_for_status(answer, self._client.limits)
        except Refused as error:
            missing = error.status == 404
            raise RegistryError(f"blob {self.blob.digest} is not there" if missing else f"{error}") from None
        if answer.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            raise RegistryError("the blob is compressed, which nobody asked for")
        if answer.status == 206:
            self._check_range(answer, start, stop)
        elif answer.status != 200:
            raise Transient(f"{answer.status}: not an answer to this question")
        elif (start, stop) != (0, self.blob.size):
            raise RangesIgnored("the registry sends whole blobs only")
        length = answer.headers.get("Content-Length")
        if length is not None and length != str(stop - start):
            raise Transient(f"{stop - start} bytes were expected, {length[:20]} announced")
        self._check_version(answer)

    def _check_range(self, answer: Answer, start: int, stop: int) -> None:
        found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
        if found is None:
            raise Transient("the answer does not say which part of the blob it is")
        first, last, total = map(int, found.groups())
        if total != self.blob.size:
            raise Changed(f"the blob has {self.blob.size} bytes, the registry says {total}")
        if (first, last + 1) != (start, stop):
            raise Transient(f"bytes {start} to {stop - 1} were asked for, {first} to {last} came")

    def _check_version(self, answer: Answer) -> None:
        etag = answer.headers.get("ETag", "")
        if etag.startswith('"') and self._etag and etag != self._etag:
            self._etag = etag
            raise Changed("the registry has another version of the blob than before")
        self._etag = etag if etag.startswith('"') else self._etag
