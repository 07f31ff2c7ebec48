"""The server's own key: an ed25519 pair in OpenSSH's format, with which it signs requests for tokens.

It lies where Ollama has it, and whichever server comes first makes it. Without the package ``cryptography`` (extra
``push``) there is none, and registries are asked for tokens anonymously.
"""

from __future__ import annotations

import base64
import logging
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..store.files import make_folders, read_regular, sync_folder

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["KeyPair", "ensure_key_pair", "key_path", "load_key_pair"]

_MAX_BYTES = 64 << 10
_log = logging.getLogger(__name__)


def key_path(env: Mapping[str, str]) -> Path:
    """``~/.ollama/id_ed25519`` of the user whose environment this is."""
    return Path(env.get("HOME") or Path.home()) / ".ollama" / "id_ed25519"


class KeyPair:
    """Signs; ``public_field`` is the middle one of the line that OpenSSH writes of the public key."""

    def __init__(self, private: Ed25519PrivateKey):
        self._private = private

    @property
    def public_line(self) -> str:
        """``ssh-ed25519 AAAA...``"""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return self._private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()

    @property
    def public_field(self) -> str:
        return self.public_line.split()[1]

    def sign(self, text: str) -> str:
        """The signature of ``text`` in base64."""
        return base64.b64encode(self._private.sign(text.encode())).decode()


def load_key_pair(path: Path) -> KeyPair | None:
    """The pair at ``path``; None, with a line in the log if it is there, for what cannot be used."""
    try:
        data = read_regular(path, _MAX_BYTES, follow=True)
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.warning("the key id_ed25519 cannot be read: %s", error.strerror or error)
        return None
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_ssh_private_key

        private = load_ssh_private_key(data, None)
    except ImportError:
        _log.warning("requests to registries are not signed: the package cryptography is missing (extra push)")
        return None
    except Exception as error:  # whatever a damaged file makes of that parser
        _log.warning("the key id_ed25519 cannot be used: %s", type(error).__name__)
        return None
    if not isinstance(private, Ed25519PrivateKey):
        _log.warning("the key id_ed25519 is of another kind")
        return None
    return KeyPair(private)


def ensure_key_pair(path: Path) -> KeyPair | None:
    """Make the pair if there is no file at ``path``. Returns a new one only; None too where none can be made."""
    if os.path.lexists(path):
        return None
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    except ImportError:
        return None
    private = Ed25519PrivateKey.generate()
    text = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    pair = KeyPair(private)
    try:
        make_folders(path.parent)
        if not _place(path, text, 0o600):
            return None  # another server was faster
        _place(path.with_name(f"{path.name}.pub"), f"{pair.public_line}\n".encode(), 0o644)
    except OSError as error:
        _log.warning("no key is made for registries: %s", error.strerror)
        return None
    return pair


def _place(path: Path, data: bytes, mode: int) -> bool:
    """Write a file whole, unless there is one of this name. Raises OSError."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with open(fd, "wb") as file:
            os.fchmod(fd, mode)
            file.write(data)
            file.flush()
            os.fsync(fd)
        with suppress(FileExistsError):
            os.link(temporary, path)
            sync_folder(path.parent)
            return True
        return False
    finally:
        temporary.unlink()
