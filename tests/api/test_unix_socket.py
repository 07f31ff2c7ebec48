"""A server on a Unix socket: who may connect, what is left behind, and the command line as its client."""

import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from gristmill.api.cli.address import Address
from gristmill.api.cli.client import Client, NoServer
from gristmill.api.cli.session_server import can_start_at, running_server
from gristmill.api.listen import unix_socket


@pytest.fixture
def path():
    """Not below pytest's folder: the name of a socket has at most 107 bytes."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder, "mill.sock")


def address_of(path):
    return Address("unix", "", 0, socket=str(path))


def environment(path, home):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("OLLAMA_", "GRISTMILL_", "XDG_"))}
    return env | {
        "OLLAMA_HOST": f"unix://{path}",
        "OLLAMA_MODELS": str(home / "models"),
        "HOME": str(home),
        "GRISTMILL_SPARE_RUNNER": "0",
        "GRISTMILL_METRICS": "auto",
    }


@contextmanager
def serving(path, home):
    """A real server on the socket, which must answer; killed at the end where it still runs."""
    command = [sys.executable, "-m", "gristmill", "serve"]
    with open(home / "serve.log", "wb") as log:
        env = environment(path, home)
        process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        for _ in range(600):
            assert process.poll() is None, (home / "serve.log").read_text()
            if Client(address_of(path)).is_running():
                break
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


def test_server_and_commands_from_start_to_stop(path, tmp_path):
    with serving(path, tmp_path) as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert Client(address_of(path)).get("/api/tags") == {"models": []}
        with Client(address_of(path))._exchange("GET", "/metrics") as response:  # this machine is all there is
            assert response.status == 200
        listed = subprocess.run(
            [sys.executable, "-m", "gristmill", "list"],
            env=environment(path, tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (listed.returncode, listed.stdout.split()) == (0, ["NAME", "ID", "SIZE", "MODIFIED"])
        second = subprocess.run(
            [sys.executable, "-m", "gristmill", "serve"],
            env=environment(path, tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == 1
        assert second.stderr.splitlines()[-1] == f"Error: listen unix {path}: bind: address already in use"
        assert Client(address_of(path)).is_running()
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
    assert not path.exists()
    assert f"Listening on unix://{path}" in (tmp_path / "serve.log").read_text()


def test_what_a_killed_server_has_left_is_replaced(path, tmp_path):
    with serving(path, tmp_path) as first:
        first.kill()
        first.wait()
    assert path.is_socket()
    with pytest.raises(NoServer, match=f"could not connect to a server at unix://{path}, run 'gristmill serve'"):
        Client(address_of(path)).get("/api/tags")
    with serving(path, tmp_path) as second:
        second.send_signal(signal.SIGTERM)
        assert second.wait(30) == 0


def test_a_session_starts_a_server_of_its_own_there(path, tmp_path, monkeypatch):
    for name, value in environment(path, tmp_path).items():
        monkeypatch.setenv(name, value)
    assert can_start_at(address_of(path))
    client = Client(address_of(path))
    with running_server(client):
        assert client.is_running()
    assert not path.exists()
    assert not can_start_at(address_of(path.parent / "no folder" / "s"))


# -- the file --------------------------------------------------------------------------------------------------


def test_another_users_turn_comes_only_after_the_mode_is_set(path):
    with unix_socket(path) as listener, closing(socket.socket(socket.AF_UNIX)) as client:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        client.connect(str(path))
        listener.accept()[0].close()
    assert not path.exists()


def test_a_file_that_is_no_socket_stays(path):
    for make in (path.touch, path.mkdir, lambda: path.symlink_to("elsewhere")):
        make()
        with pytest.raises(OSError, match="no socket") as raised, unix_socket(path):
            pass
        assert raised.value.errno == errno.EEXIST
        assert os.path.lexists(path)
        path.rmdir() if path.is_dir() else path.unlink()


def test_a_socket_on_which_somebody_listens_stays(path):
    with unix_socket(path), pytest.raises(OSError, match="in use") as raised, unix_socket(path):
        pass
    assert raised.value.errno == errno.EADDRINUSE


def test_the_socket_of_who_came_later_is_not_removed(path):
    with unix_socket(path):
        path.unlink()
        with closing(socket.socket(socket.AF_UNIX)) as other:
            other.bind(str(path))
    assert path.is_socket()


@pytest.mark.parametrize("name", ["no folder/s", "x" * 200])
def test_a_path_that_cannot_be_is_an_oserror(path, name):
    with pytest.raises(OSError), unix_socket(path.parent / name):  # noqa: PT011 - the system's own words
        pass
