"""The ``serve`` command: the server in this process, until it is told to stop."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from argparse import Namespace

from gristmill.runtime.errors import GristmillError

from ..settings import Settings
from . import machine
from .address import Address, read_settings


def serve(arguments: Namespace) -> int:
    """Raises GristmillError when the address cannot be used."""
    from ..server import run_server

    settings = read_settings()
    configure_log(settings.debug)
    if arguments.until_stdin_closes:
        threading.Thread(target=_stop_when_stdin_closes, daemon=True).start()
    try:
        return run_server(settings, ready=lambda: _greet(settings))
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise GristmillError(f"listen tcp {Address.of(settings)}: bind: {reason}") from None


def _greet(settings: Settings) -> None:
    n_models = machine.count_models(settings.models)
    processor = machine.processor()
    features = f" ({', '.join(processor.features)})" if processor.features else ""
    print(f"Listening on http://{Address.of(settings)}", file=sys.stderr)
    print(f"Models: {n_models} in {settings.models}", file=sys.stderr)
    print(f"Computing on {machine.cores()} cores: {processor.name}{features}", file=sys.stderr, flush=True)


def configure_log(debug: int) -> None:
    """Logs to standard error, from INFO on, or everything with ``debug``."""
    handler = logging.StreamHandler()
    handler.setFormatter(KeyValueFormatter())
    logging.basicConfig(level=logging.DEBUG if debug else logging.INFO, handlers=[handler], force=True)


class KeyValueFormatter(logging.Formatter):
    """``time=... level=INFO source=manager:12 msg="..."``: always one line, control characters escaped."""

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03d"

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        message = json.dumps(text, ensure_ascii=False)
        source = f"{record.module}:{record.lineno}"
        return f"time={self.formatTime(record)} level={record.levelname} source={source} msg={message}"


def _stop_when_stdin_closes() -> None:
    """Whoever started us holds the other end of standard input: when it is gone, however it ended, we stop.

    ``os.read``, because a thread that waits inside ``sys.stdin`` would hold its lock when the interpreter ends.
    """
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
