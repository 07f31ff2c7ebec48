"""``OLLAMA_HOST``: where a server listens, and where its clients find it."""

from __future__ import annotations

import ipaddress
import logging
import re
from typing import NamedTuple

from gristmill.runtime.errors import InvalidRequest, cut

_log = logging.getLogger(__name__)
_PORT = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}
DEFAULT_PORT = 11434
UNIX = "unix"


class Host(NamedTuple):
    """``host`` is empty where all interfaces are meant; ``path`` matters to clients only.

    ``socket`` is the file of a Unix socket where ``scheme`` is "unix", else empty.
    """

    scheme: str
    host: str
    port: int
    path: str
    socket: str


def parse_host(text: str) -> Host:
    """``[scheme://][host][:port][/path]``, IPv6 with or without brackets; or ``unix:///path/of/socket``.

    A port that is none is warned about. Raises InvalidRequest for a socket without an absolute path: whoever wants
    one does not want a port instead.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "http", text
    if scheme == UNIX:
        if not rest.startswith("/") or rest.endswith("/"):
            raise InvalidRequest(f"OLLAMA_HOST: {cut(text)} names no file; write it as in unix:///run/gristmill.sock")
        return Host(UNIX, "", 0, "", rest)
    default_port = _DEFAULT_PORTS.get(scheme, DEFAULT_PORT) if separator else DEFAULT_PORT
    address, slash, path = rest.partition("/")
    path = slash + path.rstrip("/") if path else ""
    host, port_text = _split_port(address)
    if port_text is None:
        return Host(scheme, host or "127.0.0.1", default_port, path, "")
    port = default_port
    if _PORT.fullmatch(port_text) and 0 <= int(port_text) <= 65535:
        port = int(port_text)
    else:
        _log.warning("port of OLLAMA_HOST=%s is not valid, using %s", cut(port_text), default_port)
    return Host(scheme, host, port, path, "")


def _split_port(address: str) -> tuple[str, str | None]:
    """Host without brackets, and the port's text, or None where there is no colon for one."""
    bare = address.strip("[]")
    try:
        return str(ipaddress.ip_address(bare)), None
    except ValueError:
        pass
    host, colon, port = address.rpartition(":")
    if not colon:
        return bare, None
    return host.strip("[]"), port


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine only. A name other than ``localhost`` might be of another."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
