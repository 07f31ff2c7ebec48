"""One model at its registry: requests with credentials, tokens renewed, redirects followed by hand.

Credentials go to the registry's own origin and nowhere else. Knows neither manifests nor how blobs are put together.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

import msgspec
from yarl import URL

from .addresses import Repository, follow, origin_of
from .errors import RedirectRefused, Refused, RegistryError, Transient
from .keypair import KeyPair
from .limits import Limits
from .retry import retry_after
from .tokens import fetch_token
from .transport import Answer, Transport, read_limited

__all__ = ["Body", "RegistryClient", "Reply", "raise_for_status"]

Body = Callable[[], AsyncIterable[bytes]]  # made anew for each try

_REDIRECTS = (301, 302, 303, 307, 308)


class Reply(NamedTuple):
    """An answer, and the address that it comes from in the end."""

    answer: Answer
    url: URL


class RegistryClient:
    """For the length of one pull or push; the token is kept as long."""

    def __init__(self, repository: Repository, transport: Transport, key: Callable[[], KeyPair | None]):
        self.repository = repository
        self._transport, self._key = transport, key
        self._token = ""
        self._is_public: bool | None = None  # whether the registry's address is one of the internet
        self._renewing = asyncio.Lock()

    @property
    def limits(self) -> Limits:
        return self._transport.limits

    @asynccontextmanager
    async def ask(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str] | None = None,
        *,
        body: Body | None = None,
        redirects: bool = True,
        stall_s: float | None = None,
    ) -> AsyncIterator[Reply]:
        """The answer to one request, whatever its status, but a 401 of the registry only for want of a token.

        Raises RegistryError; ``unauthorized: access denied`` when a new token is refused as well.
        """
        n_hops, tokens = 0, list[str]()
        while True:
            is_own = origin_of(url) == self.repository.origin
            sent = dict(headers or {})
            if is_own and self._token:
                sent["Authorization"] = f"Bearer {self._token}"
            token = self._token
            async with self._transport.exchange(
                method, url, sent, body=body() if body else None, guarded=self._is_guarded, stall_s=stall_s
            ) as answer:
                if is_own and self._is_public is None:
                    self._is_public = not self._transport.is_private(url, answer)
                if answer.status == 401 and is_own:
                    challenges = answer.headers.getall("WWW-Authenticate", [])
                elif answer.status in _REDIRECTS and redirects:
                    n_hops += 1
                    if n_hops > self.limits.n_redirects:
                        raise RedirectRefused(f"the registry redirects more than {self.limits.n_redirects} times")
                    url = follow(url, answer.headers.get("Location"))
                    continue
                else:
                    yield Reply(answer, url)
                    return
            if tokens:
                raise RegistryError("unauthorized: access denied")
            tokens.append(token)
            await self._renew(token, challenges)

    @property
    def _is_guarded(self) -> bool:
        """Once the registry has shown to be on the internet, nothing it says leads to anywhere else."""
        return bool(self._is_public)

    async def _renew(self, refused: str, challenges: list[str]) -> None:
        """A new token, unless another request has got one since ``refused`` was sent."""
        async with self._renewing:
            if self._token == refused:
                self._token = ""
                key = await asyncio.to_thread(self._key)
                self._token = await fetch_token(
                    self._transport, self.repository.origin, challenges, key, guarded=self._is_guarded
                )


async def raise_for_status(answer: Answer, limits: Limits) -> None:
    """Raises Transient for what may pass (429, 5xx), Refused for any other status from 400 on."""
    if answer.status < 400:
        return
    text = await _detail(answer, limits)
    detail = f"{answer.status}: {text or answer.reason or 'no reason given'}"
    if answer.status in (408, 425, 429) or answer.status >= 500:
        raise Transient(detail, retry_after(answer.headers.get("Retry-After")))
    raise Refused(answer.status, detail)


class _Said(msgspec.Struct):
    code: str = ""
    message: str = ""


class _ErrorBody(msgspec.Struct):
    errors: list[_Said] = []
    error: str = ""


async def _detail(answer: Answer, limits: Limits) -> str:
    """What a registry says of its error: the texts of its JSON, or plain text. Web pages say nothing to anybody."""
    try:
        body = await read_limited(answer, limits.error_bytes, "the answer")
    except RegistryError:
        return ""
    try:
        said = msgspec.json.decode(body, type=_ErrorBody)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return body.decode("utf-8", "replace").strip() if answer.content_type == "text/plain" else ""
    return said.error or "; ".join(": ".join(filter(None, (e.code, e.message))) for e in said.errors)
