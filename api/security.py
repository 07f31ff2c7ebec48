"""Who may talk to the server from a browser: the Host and Origin checks (against DNS rebinding and cross-site use).

Rules and lists are Ollama's. Both checks come before any handler.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence

from aiohttp import web

from gristmill.runtime.errors import InvalidRequest, cut

from .host import is_loopback

# RFC 1918 and RFC 4193. Python's ``is_private`` means more: documentation and benchmark networks, too.
PRIVATE_NETWORKS = [
    ipaddress.ip_network(network) for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
]
LOCAL_NAMES = ("localhost", "127.0.0.1", "0.0.0.0")
APP_ORIGINS = ("app://*", "file://*", "tauri://*", "vscode-webview://*", "vscode-file://*")
CORS = web.RequestKey("cors", dict[str, str])
Check = Callable[[web.Request], web.Response | None]  # the answer to a request that goes no further
METHODS = "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"
STAINLESS = (
    *("Arch", "Async", "Custom-Poll-Interval", "Helper-Method", "Lang", "Os", "Package-Version"),
    *("Poll-Helper", "Retry-Count", "Runtime", "Runtime-Version", "Timeout"),
)
HEADERS = "Authorization,Content-Type,User-Agent,Accept,X-Requested-With,Openai-Beta," + ",".join(
    f"X-Stainless-{name}" for name in STAINLESS
)


def origin_patterns(extra: Sequence[str]) -> list[re.Pattern[str]]:
    """The allowed origins: those of this machine, of desktop apps, and ``extra``, each with at most one ``*``."""
    local = [f"{scheme}://{name}{port}" for scheme in ("http", "https") for name in LOCAL_NAMES for port in ("", ":*")]
    return [_pattern(origin) for origin in (*extra, *local, *APP_ORIGINS)]


def _pattern(origin: str) -> re.Pattern[str]:
    """Raises InvalidRequest for what can be no origin: neither a scheme nor a wildcard, or two wildcards."""
    if ("://" not in origin and "*" not in origin) or origin.count("*") > 1:
        raise InvalidRequest(f"OLLAMA_ORIGINS: {cut(origin)} is not an origin; write it as in https://app.example:8080")
    # A port is digits: "http://localhost:*" must not let "http://localhost:1.evil.example" in.
    wild = "[0-9]+" if origin.endswith(":*") and "://" in origin and origin != "*" else ".*"
    head, star, tail = origin.partition("*")
    return re.compile(re.escape(head) + (wild if star else "") + re.escape(tail), re.IGNORECASE)


def check_origin(origins: Sequence[str]) -> Check:
    """403 for origins that are not allowed; CORS headers and preflight answers for those that are."""
    patterns = origin_patterns(origins)
    everyone = "*" in origins

    def check(request: web.Request) -> web.Response | None:
        origin = request.headers.get("Origin")
        if origin is None or origin in (f"http://{request.host}", f"https://{request.host}"):
            return None
        if not any(pattern.fullmatch(origin) for pattern in patterns):
            return web.Response(status=403)
        cors = {"Access-Control-Allow-Origin": "*" if everyone else origin, "Vary": "Origin"}
        if request.method == "OPTIONS":
            allow = {"Access-Control-Allow-Methods": METHODS, "Access-Control-Allow-Headers": HEADERS}
            return web.Response(status=204, headers={**cors, **allow, "Access-Control-Max-Age": "43200"})
        request[CORS] = cors
        return None

    return check


async def add_cors_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Signal ``on_response_prepare``: also streams and errors carry the CORS headers."""
    if CORS in request:
        response.headers.update(request[CORS])


def check_host(bound_to: str) -> Check:
    """403 for foreign Host headers, while the server is bound to a loopback address."""
    guarded = is_loopback(bound_to)
    own_name = socket.gethostname().lower()

    def check(request: web.Request) -> web.Response | None:
        hosts = request.headers.getall("Host", [""])
        if guarded and (len(hosts) != 1 or not is_local_host(hosts[0], own_name)):
            return web.Response(status=403)
        return None

    return check


def is_local_host(header: str, own_name: str) -> bool:
    """Whether a Host header names this machine or a private network."""
    host = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]@/\s]*)(:[0-9]{1,5})?", header)
    if host is None:
        return False
    name = host[1].strip("[]").lower()
    if name in ("", "localhost", own_name) or name.endswith((".localhost", ".local", ".internal")):
        return re.fullmatch(r"[a-z0-9._-]*", name) is not None
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    private = any(address in network for network in PRIVATE_NETWORKS if network.version == address.version)
    return private or address.is_loopback or address.is_unspecified
