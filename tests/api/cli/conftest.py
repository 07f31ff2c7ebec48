"""A fake server and the command line pointed at it."""

import io
import os
import socket

import pytest
from support.fake_ollama import fake_ollama

from gristmill.api.cli import main


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """No test reads or writes the user's own models, history or settings."""
    for name in [*os.environ]:
        if name.startswith(("OLLAMA_", "GRISTMILL_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def server(monkeypatch):
    with fake_ollama() as fake:
        monkeypatch.setenv("OLLAMA_HOST", fake.address)
        yield fake


@pytest.fixture
def gristmill(capsys, monkeypatch):
    """Runs one command line, with ``stdin`` piped into it: (status, stdout, stderr)."""

    def run(*argv, stdin=b""):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        status = main(argv)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def free_address(monkeypatch):
    """An address at which nothing listens, set as the server's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    monkeypatch.setenv("OLLAMA_HOST", address)
    return address
