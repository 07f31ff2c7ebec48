"""Connections to a server: over TCP, over TLS, and to a Unix socket. Imported when the first one is made."""

from __future__ import annotations

import socket
import ssl
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path

from gristmill.runtime.errors import GristmillError

from ..host import UNIX
from .address import Address

_TIMEOUT_S = 10.0


class UntrustedServer(GristmillError):
    """The server's certificate is not one that we trust, or it speaks no TLS."""


class UnixConnection(HTTPConnection):
    """HTTP over the Unix socket at ``path``."""

    def __init__(self, path: str, timeout: float):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Raises OSError."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(self.timeout)
            self.sock.connect(self._path)
        except OSError:
            self.sock.close()
            raise


def connect(address: Address, tls_ca: Path | None) -> HTTPConnection:
    """An open connection. ``tls_ca`` is a file of authorities that are trusted besides the system's.

    Raises OSError where nobody listens, UntrustedServer, and GristmillError for a file that holds no certificate.
    """
    connection = _connection(address, tls_ca)
    try:
        connection.connect()
    except ssl.SSLCertVerificationError as error:
        raise UntrustedServer(
            f"the certificate of {address} is not trusted: {error.verify_message}; "
            "GRISTMILL_TLS_CA names the file of an authority to trust"
        ) from None
    except ssl.SSLError as error:
        reason = (error.reason or "").replace("_", " ").lower()
        raise UntrustedServer(f"no TLS connection to {address}: {reason}; does the server speak https?") from None
    return connection


def _connection(address: Address, tls_ca: Path | None) -> HTTPConnection:
    if address.scheme == UNIX:
        return UnixConnection(address.socket, _TIMEOUT_S)
    if address.scheme == "https":
        return HTTPSConnection(address.connect_host, address.port, timeout=_TIMEOUT_S, context=_context(tls_ca))
    return HTTPConnection(address.connect_host, address.port, timeout=_TIMEOUT_S)


def _context(tls_ca: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if tls_ca is not None:
        try:
            context.load_verify_locations(tls_ca)
        except ssl.SSLError:
            raise GristmillError(f"GRISTMILL_TLS_CA: {tls_ca} holds no certificate (PEM)") from None
        except OSError as error:
            raise GristmillError(f"GRISTMILL_TLS_CA: cannot read {tls_ca}: {error.strerror}") from None
    return context
