"""Where the server listens: a TCP address, with or without TLS, or a Unix socket that only its owner may use."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import ssl
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from aiohttp import web

from gristmill.runtime.errors import InvalidRequest

from .host import UNIX, is_loopback
from .settings import Settings

__all__ = ["listening", "tls_context", "unix_socket", "warn_about_exposure"]

log = logging.getLogger(__name__)

_BACKLOG = 128
_PROBE_S = 2.0


@contextlib.asynccontextmanager
async def listening(runner: web.AppRunner, settings: Settings) -> AsyncIterator[web.BaseSite]:
    """Connections are accepted until the site is stopped; a socket's file is removed at the end of the block.

    Raises OSError when the address cannot be used, InvalidRequest for settings that do not go together.
    """
    tls = tls_context(settings)
    if settings.scheme == UNIX:
        with unix_socket(Path(settings.socket)) as listener:
            site: web.BaseSite = web.SockSite(runner, listener)
            await site.start()
            yield site
        return
    site = web.TCPSite(runner, settings.host or None, settings.port, ssl_context=tls)
    await site.start()
    yield site


def warn_about_exposure(settings: Settings, *, has_keys: bool) -> None:
    """One line each for what an operator may not have meant."""
    if settings.scheme == UNIX:
        return
    if settings.scheme == "https" and settings.tls_cert is None:
        log.warning("OLLAMA_HOST says https, but GRISTMILL_TLS_CERT is not set: this server speaks plain http")
    if not has_keys and not is_loopback(settings.host):
        log.warning(
            "%s is open to other machines, and no API key is asked for: set GRISTMILL_API_KEYS",
            settings.host or "every address",
        )


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """None where no certificate is set. Raises InvalidRequest where the files cannot be used, and names the setting."""
    cert, key = settings.tls_cert, settings.tls_key
    if cert is None:
        if key is not None:
            raise InvalidRequest("GRISTMILL_TLS_KEY is set without GRISTMILL_TLS_CERT: set both, or neither")
        return None
    if settings.scheme == UNIX:
        raise InvalidRequest("GRISTMILL_TLS_CERT is for TCP, not for a socket: unset it, or change OLLAMA_HOST")
    for name, path in (("GRISTMILL_TLS_CERT", cert), ("GRISTMILL_TLS_KEY", key)):
        if path is not None:
            _check_readable(name, path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        reason = (getattr(error, "reason", None) or str(error)).replace("_", " ").lower()
        where = f"{cert} and {key}" if key is not None else f"{cert}"
        raise InvalidRequest(f"GRISTMILL_TLS_CERT: {where} are no certificate and its key (PEM): {reason}") from None
    return context


def _no_password() -> str:
    """OpenSSL would ask for one on the terminal, and a service would wait for ever."""
    raise ValueError("the key is encrypted; a server needs one without a password")


def _check_readable(name: str, path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise InvalidRequest(f"{name}: cannot read {path}: {error.strerror}") from None


@contextlib.contextmanager
def unix_socket(path: Path) -> Iterator[socket.socket]:
    """A listening socket at ``path``, for its owner alone. Raises OSError, also where another server listens."""
    _remove_stale(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        ours = path.stat()
        try:
            path.chmod(0o600)  # before anyone can connect: nobody listens yet
            listener.listen(_BACKLOG)
            yield listener
        finally:
            with contextlib.suppress(OSError):
                if os.path.samestat(path.stat(), ours):  # another server may have taken the name
                    path.unlink()


def _remove_stale(path: Path) -> None:
    """Remove what a server that was killed has left. Raises OSError where one still listens, or it is no socket."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "there is a file that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_S)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except TimeoutError:
            pass  # somebody listens, and is busy
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
