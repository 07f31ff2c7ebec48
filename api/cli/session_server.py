"""A server for the length of one command, when none is running.

The child is the same ``gristmill serve`` a user would start, on the configured address. It holds the other end
of a pipe from us and stops when that closes, so that no server is left behind even if we are killed.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gristmill.runtime.errors import GristmillError

from ..host import UNIX
from . import progress, terminal
from .address import Address
from .client import Client, NoServer

_START_TIMEOUT_S = 60.0
_POLL_S = 0.02
_STOP_TIMEOUT_S = 20.0
_COMMAND = (sys.executable, "-P", "-m", "gristmill", "serve", "--until-stdin-closes")


@contextmanager
def running_server(client: Client, command: tuple[str, ...] = _COMMAND) -> Iterator[None]:
    """A server answers ``client`` for as long as the block runs: the one that is there, else a child of ours.

    Raises ForeignServer when another program has the port, NoServer when nothing answers at an address that is
    not of this machine, GristmillError when the child does not start.
    """
    if client.is_running():
        yield
        return
    if not can_start_at(client.address):
        raise NoServer(f"could not connect to a server at {client.address}, and it is not on this machine")
    with tempfile.TemporaryDirectory(prefix="gristmill-") as folder:
        log = Path(folder, "serve.log")
        child = _start(command, log)
        try:
            with progress.spinner("starting a server"):
                _await_answer(client, child, log)
            terminal.note(f"started a server at {client.address} for this session")
            try:
                yield
            finally:
                if child.poll() is not None:
                    terminal.note(f"the session's server has ended by itself: {_last_line(log)}")
        finally:
            _stop(child)


def can_start_at(address: Address) -> bool:
    """Whether ``address`` is of this machine, so that a server can listen there."""
    if address.scheme == UNIX:
        return os.access(Path(address.socket).parent, os.W_OK | os.X_OK)
    if address.scheme != "http" or address.path:
        return False
    host = address.connect_host
    try:
        with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return True
    except OSError:
        return False


def _start(command: tuple[str, ...], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        # A session of its own: Ctrl+C in our terminal stops an answer, not the server.
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=os.name == "posix"
        )


def _await_answer(client: Client, child: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not client.is_running():
        if child.poll() is not None:
            if client.is_running():  # another session was faster: its server is as good
                return
            raise GristmillError(f"could not start a server: {_last_line(log)}")
        if time.monotonic() > deadline:
            raise GristmillError(f"the server did not answer within {_START_TIMEOUT_S:.0f} s: {_last_line(log)}")
        time.sleep(_POLL_S)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it wrote nothing to its log")
    return last.removeprefix("Error: ")


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    finally:
        if child.stdin is not None:
            child.stdin.close()
