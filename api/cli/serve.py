"""The ``serve`` command: the server in this process, until it is told to stop."""

from __future__ import annotations

import os
import signal
import threading
from argparse import Namespace

from .address import read_settings


def serve(arguments: Namespace) -> int:
    from ..server import run_server

    if arguments.until_stdin_closes:
        threading.Thread(target=_stop_when_stdin_closes, daemon=True).start()
    return run_server(read_settings())


def _stop_when_stdin_closes() -> None:
    """Whoever started us holds the other end of standard input: when it is gone, however it ended, we stop.

    ``os.read``, because a thread that waits inside ``sys.stdin`` would hold its lock when the interpreter ends.
    """
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
