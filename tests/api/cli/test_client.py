"""The HTTP client against a server that behaves, one that fails, and programs that are no such server."""

import json
import socket
import threading

import pytest
from support.fake_ollama import fake_ollama

from gristmill.api.cli.address import Address
from gristmill.api.cli.client import Client, ForeignServer, NoServer, ServerError
from gristmill.api.cli.session_server import can_start_at
from gristmill.runtime.errors import GristmillError


@pytest.fixture
def server():
    with fake_ollama() as fake:
        yield fake


def client_of(fake):
    host, _, port = fake.address.partition(":")
    return Client(Address("http", host, int(port)))


@pytest.fixture
def raw_server():
    """A function that starts a server which sends the given bytes to every connection, then closes it."""
    listeners = []

    def start(content):
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(content)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        return Client(Address("http", "127.0.0.1", listener.getsockname()[1]))

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def http(content, headers="Content-Type: application/x-ndjson\r\n"):
    return f"HTTP/1.1 200 OK\r\n{headers}\r\n".encode() + content


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_a_running_server_is_recognized(server):
    assert client_of(server).is_running()


def test_no_server_is_no_error_when_asked_for(free_port):
    assert not Client(Address("http", "127.0.0.1", free_port)).is_running()


def test_no_server_names_the_address_and_the_way_out(free_port):
    with pytest.raises(NoServer) as error:
        Client(Address("http", "127.0.0.1", free_port)).get("/api/tags")
    assert str(error.value) == (
        f"could not connect to a server at 127.0.0.1:{free_port}, run 'gristmill serve' to start it"
    )


def test_answers_are_objects(server):
    assert client_of(server).version() == "0.33.0"
    assert client_of(server).post("/api/copy", {"source": "smollm2", "destination": "b"}) == {}


def test_an_error_carries_its_text_and_status(server):
    with pytest.raises(ServerError, match=r"^model 'x' not found$") as error:
        client_of(server).post("/api/show", {"model": "x"})
    assert error.value.status == 404


def test_an_error_without_a_text_is_named_by_its_status(server):
    with pytest.raises(ServerError, match=r"^the server answered 404 Not Found$"):
        client_of(server).get("/api/nothing")


def test_a_stream_is_read_line_by_line(server):
    chunks = client_of(server).stream("/api/generate", {"model": "smollm2", "prompt": "hi"})
    texts = [chunk["response"] for chunk in chunks]
    assert texts == ["Hel", "lo ", "wor", "ld.", ""]


def test_an_error_in_mid_stream_comes_after_what_was_sent(server):
    server.error = "model runner has unexpectedly stopped"
    chunks = client_of(server).stream("/api/generate", {"model": "smollm2", "prompt": "hi"})
    assert [next(chunks)["response"] for _ in range(4)] == server.pieces
    with pytest.raises(ServerError, match=r"^model runner has unexpectedly stopped$"):
        next(chunks)


def test_a_connection_that_breaks_in_mid_stream_is_one_error(server):
    server.ends_early = True
    chunks = client_of(server).stream("/api/generate", {"model": "smollm2", "prompt": "hi"})
    with pytest.raises(GristmillError, match=r"^the server closed the connection before the answer was complete$"):
        list(chunks)


def test_a_foreign_web_server_is_named(server):
    server.banner = b"<html>Welcome to nginx</html>"
    with pytest.raises(ForeignServer, match=r"^a program other than .* answers at 127\.0\.0\.1:\d+: stop it, or"):
        client_of(server).is_running()
    with pytest.raises(ForeignServer):
        client_of(server).get("/api/tags")


@pytest.mark.parametrize(
    "content", [b"SSH-2.0-OpenSSH_9.2\r\n", b"-ERR unknown command\r\n", http(b"<html>"), b"", b"HTTP/1.1 2x0\r\n\r\n"]
)
def test_whatever_else_answers_is_one_error(raw_server, content):
    client = raw_server(content)
    with pytest.raises(GristmillError) as error:
        client.get("/api/tags")
    assert "\n" not in str(error.value)
    with pytest.raises(GristmillError):
        client.is_running()


def test_an_answer_that_is_no_object_is_one_error(raw_server):
    for content in (b"[1]", b"{", json.dumps("text").encode()):
        with pytest.raises(GristmillError):
            raw_server(http(content)).get("/api/tags")


def test_a_blob_is_uploaded_once(server):
    client = client_of(server)
    digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert not client.has_blob(digest)
    client.upload_blob(digest, iter([b"a", b"bc"]), 3)
    assert client.has_blob(digest)
    assert server.blobs[digest] == b"abc"


def test_a_refused_upload_says_why(server):
    with pytest.raises(ServerError, match="digest mismatch"):
        client_of(server).upload_blob("sha256:" + "0" * 64, iter([b"abc"]), 3)


@pytest.mark.parametrize(
    ("address", "text", "connect_host", "is_ours"),
    [
        (Address("http", "127.0.0.1", 11434), "127.0.0.1:11434", "127.0.0.1", True),
        (Address("http", "0.0.0.0", 80), "0.0.0.0:80", "127.0.0.1", True),
        (Address("http", "", 80), "0.0.0.0:80", "127.0.0.1", True),
        (Address("http", "localhost", 80), "localhost:80", "localhost", True),
        (Address("http", "127.0.0.1", 80, "/ollama"), "127.0.0.1:80/ollama", "127.0.0.1", False),
        (Address("https", "127.0.0.1", 443), "https://127.0.0.1:443", "127.0.0.1", False),
        (Address("http", "192.0.2.7", 80), "192.0.2.7:80", "192.0.2.7", False),
        (Address("http", "2001:db8::7", 80), "[2001:db8::7]:80", "2001:db8::7", False),
    ],
)
def test_addresses(address, text, connect_host, is_ours):
    assert (str(address), address.connect_host, can_start_at(address)) == (text, connect_host, is_ours)
