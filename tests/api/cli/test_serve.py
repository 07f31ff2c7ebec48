"""``serve``: what it says when it is up, when the address is taken, and how its log looks."""

import logging
import socket
import sys
import types

import pytest

from gristmill.api.cli.log import KeyValueFormatter


@pytest.fixture
def run_server(monkeypatch):
    """A function that puts another one into the place of the real server."""
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)

    def replace(function):
        module = types.ModuleType("gristmill.api.server")
        module.run_server = function
        monkeypatch.setitem(sys.modules, "gristmill.api.server", module)

    return replace


def test_three_lines_when_it_is_up(gristmill, free_address, run_server):
    def serve(settings, ready):
        ready()
        return 0

    run_server(serve)
    status, out, err = gristmill("serve")
    assert (status, out) == (0, "")
    address, models, processor = err.splitlines()[-3:]
    assert address == f"Listening on http://{free_address}"
    assert models.startswith("Models: 0 in ")
    assert processor.startswith("Computing on ")


def test_the_first_server_makes_the_key_that_registries_know_it_by(gristmill, free_address, run_server, tmp_path):
    run_server(lambda settings, ready: ready() or 0)
    first, second = (gristmill("serve")[2].splitlines() for _ in range(2))
    key = tmp_path / "home" / ".ollama" / "id_ed25519"
    assert first[:3] == [f"Couldn't find '{key}'. Generating new private key.", "Your new public key is: ", ""]
    assert key.with_suffix(".pub").read_text() == f"{first[3]}\n"
    assert first[3].startswith("ssh-ed25519 ")
    assert len(second) == 3


def test_an_address_that_is_taken_is_one_line(gristmill, free_address, run_server):
    def serve(settings, ready):
        socket.create_server((settings.host, settings.port)).close()
        with socket.create_server((settings.host, settings.port)):
            socket.create_server((settings.host, settings.port))

    run_server(serve)
    text = f"Error: listen tcp {free_address}: bind: address already in use\n"
    assert gristmill("start") == (1, "", text)


def test_log_lines_are_key_value_and_never_two_lines():
    record = logging.LogRecord("x", logging.INFO, "/a/manager.py", 12, "loaded %s", ("a\n\x1b[2Jb",), None)
    line = KeyValueFormatter().format(record)
    assert line.startswith("time=2")
    assert line.endswith(' level=INFO source=manager:12 msg="loaded a\\n\\u001b[2Jb"')


def test_a_traceback_in_the_log_is_one_line_too():
    try:
        raise ValueError("no")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "/a/b.py", 1, "failed", (), sys.exc_info())
    line = KeyValueFormatter().format(record)
    assert "\n" not in line
    assert "ValueError: no" in line


def test_a_very_long_line_loses_its_middle():
    record = logging.LogRecord("x", logging.ERROR, "/a/b.py", 1, "%s", ("a" * 10**6 + "b",), None)
    line = KeyValueFormatter().format(record)
    assert len(line) < 20_000
    assert "a ... a" in line
    assert line.endswith('ab"')
