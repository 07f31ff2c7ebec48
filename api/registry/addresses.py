"""Addresses: where a model's registry is, which addresses are of the same origin, which are nobody's business.

Knows no connections.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import NamedTuple

from yarl import URL

from gristmill.runtime.errors import InvalidRequest

from ..store import Digest, Name
from .errors import RedirectRefused

__all__ = ["Origin", "Repository", "follow", "is_private", "literal_address", "origin_of"]

_HTTP = re.compile(r"http://", re.IGNORECASE)
_NUMBERS = re.compile(r"[0-9.]*|(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+))*")  # as inet_aton reads them
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")  # RFC 8215
_PLAIN = re.compile(r"[\x21-\x7e]{1,8192}")  # a request line takes nothing else


class Origin(NamedTuple):
    """What credentials belong to."""

    scheme: str
    host: str
    port: int


def origin_of(url: URL) -> Origin:
    """``url`` is an absolute one with http or https."""
    return Origin(url.scheme, (url.host or "").lower().rstrip("."), url.port or 0)


@dataclass(frozen=True)
class Repository:
    """A model at its registry; ``base`` is ``<scheme>://<host>/v2/<namespace>/<model>``."""

    name: Name
    base: URL

    @classmethod
    def of(cls, text: str, *, insecure: bool = False) -> Repository:
        """``text`` as a user writes it. ``insecure`` allows, and means, plain HTTP.

        Raises InvalidRequest: ``invalid model name``, or ``insecure protocol http`` where that was not asked for.
        """
        name = Name.parse(text)
        if _HTTP.match(text) and not insecure:
            raise InvalidRequest("insecure protocol http")
        try:
            host = URL(f"{'http' if insecure else 'https'}://{name.host}")
            if not host.host or not host.port:
                raise ValueError
        except ValueError:
            raise InvalidRequest("invalid model name") from None
        return cls(name, host.with_path(f"/v2/{name.namespace}/{name.model}"))

    @property
    def origin(self) -> Origin:
        return origin_of(self.base)

    @property
    def path(self) -> str:
        """How the registry calls it."""
        return f"{self.name.namespace}/{self.name.model}"

    @property
    def manifest(self) -> URL:
        return self.base / "manifests" / self.name.tag

    def blob(self, digest: Digest) -> URL:
        return self.base / "blobs" / str(digest)

    @property
    def uploads(self) -> URL:
        return self.base / "blobs" / "uploads" / ""


def follow(url: URL, location: str | None) -> URL:
    """Where an answer of ``url`` sends us. Raises RedirectRefused for what is no address to go to."""
    if not location:
        raise RedirectRefused("the registry redirects to nowhere")
    try:
        target = url.join(URL(location, encoded=_PLAIN.fullmatch(location) is not None))
        is_http = target.scheme in ("http", "https") and bool(target.host and target.port)
    except ValueError:
        raise RedirectRefused("the registry redirects to something that is no address") from None
    if not is_http or target.user is not None or target.password is not None:
        raise RedirectRefused("the registry redirects to something that is no address of a server")
    if url.scheme == "https" and target.scheme == "http":
        raise RedirectRefused(f"the registry redirects from https to plain http, at {target.host}")
    return target


def is_private(address: str) -> bool:
    """Whether a numeric address is not one of the internet: this machine, a local network, a cloud's metadata.

    So is a text that is no address in its usual form: the system may know how to read it (``127.1``).
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return True
    if isinstance(parsed, ipaddress.IPv6Address):
        embedded = ipaddress.IPv4Address(parsed.packed[-4:]) if parsed in _NAT64 else None
        parsed = parsed.ipv4_mapped or parsed.sixtofour or embedded or parsed
    is_local = parsed.version == 6 and parsed in _LOCAL_NAT64
    return is_local or not parsed.is_global or parsed.is_multicast


def literal_address(host: str) -> str | None:
    """``host`` if it is meant as a numeric address, whatever its form, or what ``localhost`` stands for."""
    host = host.lower().rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return "127.0.0.1"
    return host if ":" in host or _NUMBERS.fullmatch(host) else None
