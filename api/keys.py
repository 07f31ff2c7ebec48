"""API keys: what the operator wrote, and whether what a client sent is one of them. Knows no HTTP.

A key may do everything, or begin with what it may do: ``read:KEY``, ``infer:KEY``, ``manage:KEY``. Every key may read.
Only digests are kept.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from gristmill.runtime.errors import InvalidRequest

from .setting import KEY
from .settings import Settings

__all__ = ["Keys", "Scope", "load_keys"]

Scope = Literal["read", "infer", "manage"]
_SCOPES: Mapping[str, frozenset[Scope]] = {
    "read": frozenset({"read"}),
    "infer": frozenset({"read", "infer"}),
    "manage": frozenset({"read", "manage"}),
    "": frozenset({"read", "infer", "manage"}),
}
MAX_FILE_BYTES = 1 << 20


class Keys:
    """The keys of a server; false where it has none, and then nobody is asked for one."""

    def __init__(self, scopes: Mapping[bytes, frozenset[Scope]]):
        self._scopes = dict(scopes)

    def __bool__(self) -> bool:
        return bool(self._scopes)

    def scopes(self, sent: str) -> frozenset[Scope]:
        """What the holder of ``sent`` may do, nothing where it is no key.

        Takes the same time whichever key it is, and however much of one it has right.
        """
        digest, found = _digest(sent), frozenset[Scope]()
        for known, scopes in self._scopes.items():
            if hmac.compare_digest(known, digest):
                found = scopes
        return found


def load_keys(settings: Settings) -> Keys:
    """Raises InvalidRequest, which names the place and never the text, where a key cannot be used.

    A setting that holds no key is an error as well: a server that was to be closed must not be open.
    """
    found: dict[bytes, frozenset[Scope]] = {}
    if settings.api_keys:
        found |= _parse(settings.api_keys.split(","), "GRISTMILL_API_KEYS", "entry")
    if settings.api_keys_file is not None:
        lines = _read(settings.api_keys_file).splitlines()
        found |= _parse(lines, "GRISTMILL_API_KEYS_FILE", "line")
    return Keys(found)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InvalidRequest(f"GRISTMILL_API_KEYS_FILE: cannot read {path}: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise InvalidRequest(f"GRISTMILL_API_KEYS_FILE: {path} is over the limit of {MAX_FILE_BYTES} bytes")
    return data.decode("utf-8", errors="replace")


def _parse(entries: Iterable[str], source: str, unit: str) -> dict[bytes, frozenset[Scope]]:
    found: dict[bytes, frozenset[Scope]] = {}
    for number, entry in enumerate(entries, 1):
        text = entry.partition("#")[0].strip()
        if not text:
            continue
        scope, colon, key = text.rpartition(":")
        scopes = _SCOPES.get(scope) if scope or not colon else None
        if scopes is None:
            raise InvalidRequest(f"{source}: {unit} {number} begins with no scope; use read:, infer:, manage: or none")
        if not KEY.fullmatch(key):
            raise InvalidRequest(f"{source}: {unit} {number} is no key; use letters, digits and ._~+/=- (up to 256)")
        digest = _digest(key)
        found[digest] = found.get(digest, frozenset()) | scopes
    if not found:
        raise InvalidRequest(f"{source} holds no key; unset it to serve without keys")
    return found


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", errors="surrogateescape")).digest()
