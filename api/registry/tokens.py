"""Tokens: what a registry's challenge asks for, asked for with a signature where there is a key.

The place that gives out tokens must be of the registry's own origin, or a trusted host: who answers with a challenge
does not get to say where our signature goes (CVE-2025-51471).
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import time
from collections.abc import Iterable

import msgspec
from yarl import URL

from gristmill.runtime.errors import cut

from .addresses import Origin, origin_of
from .challenge import Challenge, bearer_challenge
from .errors import RegistryError
from .keypair import KeyPair
from .transport import Transport, read_limited, within

__all__ = ["fetch_token", "token_url"]

_TOKEN = re.compile(r"[\x21-\x7e]{1,32768}")
_NO_BODY = base64.b64encode(hashlib.sha256(b"").hexdigest().encode()).decode()


class _TokenAnswer(msgspec.Struct):
    token: str = ""
    access_token: str = ""  # the name that OAuth has for it, and some registries


async def fetch_token(
    transport: Transport, origin: Origin, challenges: Iterable[str], key: KeyPair | None, *, guarded: bool
) -> str:
    """A token for the registry at ``origin``, which sent ``challenges``. Raises RegistryError."""
    try:
        challenge = bearer_challenge(challenges)
    except ValueError as error:
        raise RegistryError(f"the registry's challenge cannot be read: {error}") from None
    if challenge is None:
        raise RegistryError("unauthorized: access denied")
    realm = _realm(challenge, origin, transport.trusted)
    url = token_url(realm, challenge, int(time.time()), secrets.token_bytes(16))
    headers = {"Authorization": _signed(url, key)} if key is not None else {}
    wait = within(transport.limits.document_s, "the registry's token")
    async with wait, transport.exchange("GET", url, headers, guarded=guarded) as answer:
        if answer.status != 200:
            text = (await read_limited(answer, transport.limits.error_bytes, "the answer")).decode("utf-8", "replace")
            raise RegistryError(f"{answer.status}: {text.strip() or answer.reason}")
        body = await read_limited(answer, transport.limits.token_bytes, "the registry's token")
    return _decoded(body)


def token_url(realm: URL, challenge: Challenge, now_s: int, nonce: bytes) -> URL:
    """Where to ask: the realm with the query's keys in order, as the signature is made of them."""
    scopes = challenge.parameters.get("scope", "").split()
    query = [
        ("nonce", base64.urlsafe_b64encode(nonce).rstrip(b"=").decode()),
        *(("scope", scope) for scope in scopes),
        ("service", challenge.parameters.get("service", "")),
        ("ts", str(now_s)),
    ]
    return realm.update_query(query)


def _realm(challenge: Challenge, origin: Origin, trusted: frozenset[str]) -> URL:
    text = challenge.parameters.get("realm", "")
    try:
        realm = URL(text)
    except ValueError:
        realm = URL()
    if realm.scheme not in ("http", "https") or not realm.host or realm.user is not None:
        raise RegistryError("the registry's challenge names no place for tokens")
    if origin_of(realm) == origin:
        return realm
    if realm.scheme == "https" and trusted & {realm.host, f"{realm.host}:{realm.port}"}:
        return realm
    theirs, ours = (f"{where.scheme}://{where.host}:{where.port}" for where in (origin_of(realm), origin))
    raise RegistryError(f"realm host {cut(theirs)} does not match original host {cut(ours)}")


def _signed(url: URL, key: KeyPair) -> str:
    return f"{key.public_field}:{key.sign(f'GET,{url},{_NO_BODY}')}"


def _decoded(body: bytes) -> str:
    try:
        answer = msgspec.json.decode(body, type=_TokenAnswer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise RegistryError("the registry's token is not JSON") from None
    token = answer.token or answer.access_token
    if not _TOKEN.fullmatch(token):
        raise RegistryError("the registry gave no token" if not token else "the registry's token is no text of a token")
    return token
