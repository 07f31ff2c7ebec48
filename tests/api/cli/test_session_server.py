"""A server of our own for one session: started, awaited, stopped, and never left behind."""

import os
import signal
import subprocess
import sys

import pytest

from gristmill.api.cli.address import Address
from gristmill.api.cli.client import Client, NoServer
from gristmill.api.cli.session_server import running_server
from gristmill.runtime.errors import GristmillError

SERVER = """
import http.server, os, signal, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"Ollama is running")

server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
open(sys.argv[2], "w").write(str(os.getpid()))
signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to stop"))
server.serve_forever()
"""


@pytest.fixture
def client(free_address):
    return Client(Address("http", "127.0.0.1", int(free_address.partition(":")[2])))


def command_of(client, pid_file):
    return (sys.executable, "-c", SERVER, str(client.address.port), str(pid_file))


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_server_runs_for_the_length_of_the_block_and_says_so(client, tmp_path, capsys):
    with running_server(client, command_of(client, tmp_path / "pid")):
        assert client.is_running()
        pid = int((tmp_path / "pid").read_text())
    assert not is_alive(pid)
    assert not client.is_running()
    assert capsys.readouterr().err == f"started a server at {client.address} for this session\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt, GristmillError, SystemExit])
def test_it_is_stopped_whatever_ends_the_block(client, tmp_path, error):
    with pytest.raises(error), running_server(client, command_of(client, tmp_path / "pid")):
        raise error
    assert not is_alive(int((tmp_path / "pid").read_text()))


def test_a_server_that_runs_already_is_used_and_left_running(server, capsys):
    client = Client(Address("http", "127.0.0.1", int(server.address.partition(":")[2])))
    with running_server(client, ("no such program",)):
        assert client.is_running()
    assert client.is_running()
    assert capsys.readouterr().err == ""


def test_a_server_that_dies_at_once_is_reported_with_its_last_line(client):
    command = (sys.executable, "-c", "import sys; print('loading'); sys.exit('Error: no space left\\n')")
    with pytest.raises(GristmillError) as error, running_server(client, command):
        pass
    assert str(error.value) == "could not start a server: no space left"


def test_a_server_that_dies_without_a_word_is_reported(client):
    with pytest.raises(GristmillError) as error, running_server(client, (sys.executable, "-c", "")):
        pass
    assert str(error.value) == "could not start a server: it wrote nothing to its log"


def test_a_server_that_dies_in_the_session_is_mentioned(client, tmp_path, capsys):
    with running_server(client, command_of(client, tmp_path / "pid")):
        pid = int((tmp_path / "pid").read_text())
        os.kill(pid, signal.SIGTERM)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert capsys.readouterr().err.splitlines()[-1] == "the session's server has ended by itself: told to stop"


def test_no_server_is_started_for_another_machine():
    client = Client(Address("http", "127.0.0.1", 1, "/path"))
    with pytest.raises(NoServer) as error, running_server(client, ("no such program",)):
        pass
    assert str(error.value) == "could not connect to a server at 127.0.0.1:1/path, and it is not on this machine"


def test_serve_stops_when_the_session_that_started_it_is_gone():
    code = (
        "import sys, time, types\n"
        "server = types.ModuleType('gristmill.api.server')\n"
        "server.run_server = lambda settings, ready: time.sleep(60)\n"
        "sys.modules['gristmill.api.server'] = server\n"
        "from gristmill.api.cli import main\n"
        "print('up', flush=True)\n"
        "main(['serve', '--until-stdin-closes'])\n"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as child:
        assert child.stdout.readline() == b"up\n"
        child.stdin.close()
        assert child.wait(30) == -signal.SIGTERM
