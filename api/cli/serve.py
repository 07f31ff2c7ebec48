"""The ``serve`` command: the server in this process, until it is told to stop."""

from __future__ import annotations

import os
import signal
import sys
import threading
from argparse import Namespace
from dataclasses import replace

from gristmill.runtime.errors import GristmillError

from ..host import UNIX
from ..registry.keypair import ensure_key_pair, key_path
from ..settings import Settings
from . import machine
from .address import Address, read_settings
from .log import configure_log


def serve(arguments: Namespace) -> int:
    """Raises GristmillError when the address cannot be used."""
    from ..server import run_server

    configure_log(0)  # also for what reading the settings has to say
    settings = read_settings()
    configure_log(settings.debug)
    if arguments.until_stdin_closes:
        threading.Thread(target=_stop_when_stdin_closes, daemon=True).start()
    try:
        return run_server(settings, ready=lambda: _welcome(settings))
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        place = f"unix {settings.socket}" if settings.socket else f"tcp {Address.of(settings)}"
        raise GristmillError(f"listen {place}: bind: {reason}") from None


def _welcome(settings: Settings) -> None:
    _make_key()
    _greet(settings)


def _make_key() -> None:
    """The key that registries know this server by, unless there is one."""
    path = key_path(os.environ)
    pair = ensure_key_pair(path)
    if pair is not None:
        print(f"Couldn't find '{path}'. Generating new private key.", file=sys.stderr)
        print(f"Your new public key is: \n\n{pair.public_line}\n", file=sys.stderr, flush=True)


def _greet(settings: Settings) -> None:
    n_models = machine.count_models(settings.models)
    processor = machine.processor()
    features = f" ({', '.join(processor.features)})" if processor.features else ""
    print(f"Listening on {_url(settings)}", file=sys.stderr)
    print(f"Models: {n_models} in {settings.models}", file=sys.stderr)
    print(f"Computing on {machine.cores()} cores: {processor.name}{features}", file=sys.stderr, flush=True)


def _url(settings: Settings) -> str:
    """Where to reach the server, whatever scheme the settings have for clients."""
    address = Address.of(settings)
    if address.scheme == UNIX:
        return str(address)
    plain = str(replace(address, scheme="http"))
    return f"https://{plain}" if settings.tls_cert else f"http://{plain}"


def _stop_when_stdin_closes() -> None:
    """Whoever started us holds the other end of standard input: when it is gone, however it ended, we stop.

    ``os.read``, because a thread that waits inside ``sys.stdin`` would hold its lock when the interpreter ends.
    """
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
