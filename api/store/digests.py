"""Digests: the SHA-256 of some bytes, and the name of the blob that holds them."""

from __future__ import annotations

import hashlib
import re
from functools import total_ordering
from typing import Final

from gristmill.runtime.errors import InvalidRequest

__all__ = ["Digest", "digest_of", "parse_digest"]

_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})", re.ASCII)


@total_ordering
class Digest:
    """``hex`` are 64 lower-case hex digits: make one with ``parse_digest`` or ``digest_of``.

    No dataclass, because msgspec would decode those by itself, from objects and unchecked.
    """

    __slots__ = ("hex",)

    def __init__(self, hex: str):
        self.hex: Final = hex

    @property
    def file_name(self) -> str:
        return f"sha256-{self.hex}"

    def __eq__(self, other: object) -> bool:
        return self.hex == other.hex if isinstance(other, Digest) else NotImplemented

    def __lt__(self, other: Digest) -> bool:
        return self.hex < other.hex

    def __hash__(self) -> int:
        return hash(self.hex)

    def __str__(self) -> str:
        return f"sha256:{self.hex}"

    def __repr__(self) -> str:
        return f"Digest({self.hex!r})"


def parse_digest(text: object) -> Digest:
    """``sha256:<hex>`` or ``sha256-<hex>``; upper case is refused. Raises InvalidRequest ``invalid digest format``."""
    match = _DIGEST.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise InvalidRequest("invalid digest format")
    return Digest(match[1])


def digest_of(data: bytes) -> Digest:
    return Digest(hashlib.sha256(data).hexdigest())
