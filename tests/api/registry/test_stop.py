"""A server that is told to stop while it pulls: the client is told, the exit code is 0, and nothing is torn."""

import http.client
import json
import socket
import threading

from support.model_folder import problems
from support.service import running_service


def test_a_server_that_stops_ends_its_pulls(tmp_path):
    """The registry has a manifest with one blob, which it begins to send and never ends."""
    digest = "sha256:" + "ab" * 32
    entry = {"mediaType": "application/vnd.example", "digest": digest, "size": 1000}
    media_type = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = json.dumps({"schemaVersion": 2, "mediaType": media_type, "config": entry, "layers": [entry]}).encode()
    held, begun = [], threading.Event()

    def serve():
        for body, length in ((manifest, len(manifest)), (b"x" * 10, 1000)):
            connection, _ = listener.accept()
            held.append(connection)
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % length + body)
            if length == len(manifest):
                connection.close()
        begun.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        with running_service(tmp_path / "models") as service:
            connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
            name = f"127.0.0.1:{listener.getsockname()[1]}/a/b"
            connection.request("POST", "/api/pull", json.dumps({"model": name, "insecure": True}))
            response = connection.getresponse()
            assert json.loads(response.readline()) == {"status": "pulling manifest"}
            assert begun.wait(10)
        lines = [json.loads(line) for line in response.read().splitlines()]
        connection.close()
        thread.join()
    for held_connection in held:
        held_connection.close()
    assert lines[-1] == {"error": "the server is stopping; the next pull goes on where this one ends"}
    left = {path.name for path in (tmp_path / "models" / "blobs").iterdir()}
    assert {name.partition("-partial")[0] for name in left} == {digest.replace(":", "-")}
    assert all("partial" in problem for problem in problems(tmp_path / "models"))
