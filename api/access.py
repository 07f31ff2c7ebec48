"""Who may do what: API keys, checked before a body is read, on the route that the router has found.

A route that is not named here needs the scope ``manage``: a new one is closed until somebody says otherwise.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from aiohttp import web

from .error_shapes import error_body
from .keys import Keys, Scope
from .output import json_response
from .security import Check

__all__ = ["METRICS_PATH", "check_keys", "is_local", "route_of"]

METRICS_PATH = "/metrics"
OPEN = frozenset({"/", "/api/health", "/api/version"})
INFERENCE = frozenset(
    f"/api/{name}" for name in ("generate", "chat", "embed", "embeddings", "rerank", "tokenize", "detokenize")
)
_MISSING = "an API key is needed: send it as Authorization: Bearer KEY, or as x-api-key"
_UNKNOWN = "this API key is not known here: ask whoever runs the server for one"
_LOCAL_ONLY = "metrics are for clients on this machine: set GRISTMILL_METRICS=1 to serve them to all, or use API keys"


def check_keys(keys: Keys, metrics: bool | None) -> Check:
    """401 without a key, 403 where it does not reach. Without ``keys`` only metrics are looked after.

    ``metrics``: for everyone (True), or for clients with a key, on this machine where there are no keys (None).
    """

    def check(request: web.Request) -> web.Response | None:
        path = route_of(request)
        if path in OPEN or (path == METRICS_PATH and metrics):
            return None
        if not keys:
            return _refused(request, 403, _LOCAL_ONLY) if path == METRICS_PATH and not is_local(request) else None
        sent = _sent(request)
        scopes = frozenset[Scope]().union(*map(keys.scopes, sent))
        if not scopes:
            return _refused(request, 401, _UNKNOWN if sent else _MISSING)
        needed = scope_of(request.method, path)
        if needed not in scopes:
            return _refused(request, 403, f"this API key may not do that: it needs the scope {needed}")
        return None

    return check


def scope_of(method: str, path: str) -> Scope:
    """What a key needs for the route ``path``; for what is no route, only to be a key."""
    if not path or method in ("GET", "HEAD", "OPTIONS") or path == "/api/show":
        return "read"
    return "infer" if path in INFERENCE or path.startswith("/v1/") else "manage"


def is_local(request: web.Request) -> bool:
    """Whether a request comes from this machine: over a loopback address, or a Unix socket."""
    transport = request.transport
    if transport is None:
        return False
    peer: Any = transport.get_extra_info("peername")
    if not isinstance(peer, tuple):
        sock = transport.get_extra_info("socket")
        return sock is not None and sock.family == getattr(socket, "AF_UNIX", None)
    address = ipaddress.ip_address(peer[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def route_of(request: web.Request) -> str:
    """The pattern of the route as the table has it; empty where there is none."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else ""


def _sent(request: web.Request) -> list[str]:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    tokens = [token.strip() if scheme.lower() == "bearer" else "", request.headers.get("x-api-key", "").strip()]
    return [token for token in tokens if token]


def _refused(request: web.Request, status: int, text: str) -> web.Response:
    response = json_response(error_body(request.path, status, text), status)
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="gristmill"'
    if request.can_read_body:
        response.force_close()  # the body is not worth reading
    return response
