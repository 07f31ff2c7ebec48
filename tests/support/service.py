"""A real `gristmill serve` process on a free port, with a store of its own."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Service:
    """Talks to the server as any client does."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, store: Path, tls_ca: Path | None = None):
        self.process, self.port, self.store, self.tls_ca = process, port, store, tls_ca
        self.url = f"{'https' if tls_ca else 'http'}://127.0.0.1:{port}"

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """(status, whole body); ``body`` is bytes, or a value that is sent as JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body)
        with contextlib.closing(self._connection()) as connection:
            connection.request(method, path, data)
            response = connection.getresponse()
            return response.status, response.read()

    def _connection(self) -> http.client.HTTPConnection:
        if self.tls_ca is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        context = ssl.create_default_context(cafile=self.tls_ca)
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=context)

    def json(self, method: str, path: str, body: Any = None) -> Any:
        status, data = self.request(method, path, body)
        assert status == 200, data
        return json.loads(data)

    def lines(self, path: str, body: Any) -> list[dict[str, Any]]:
        status, data = self.request("POST", path, body)
        assert status == 200, data
        return [json.loads(line) for line in data.splitlines()]

    def create(self, name: str, gguf: Path, **fields: Any) -> list[dict[str, Any]]:
        """Upload a GGUF file and make a model of it."""
        data = gguf.read_bytes()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        status, _ = self.request("POST", f"/api/blobs/{digest}", data)
        assert status in (200, 201)
        return self.lines("/api/create", {"model": name, "files": {gguf.name: digest}, **fields})

    def runner_pids(self) -> list[int]:
        """Processes of loaded models: the server's children that run the runner's module."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
        return [pid for pid, command in commands.items() if b"gristmill.runtime.runner" in command]


@contextlib.contextmanager
def running_service(store: Path, tls_ca: Path | None = None, **settings: str) -> Iterator[Service]:
    """A server for the length of the block. It must stop by itself on SIGTERM, with exit code 0.

    With ``tls_ca``, a file of the authority of its certificate, it is spoken to over TLS.
    """
    port = free_port()
    env = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("OLLAMA_", "GRISTMILL_"))},
        "OLLAMA_HOST": f"127.0.0.1:{port}",
        "OLLAMA_MODELS": str(store),
        "HOME": str(store.parent),  # a server makes its key there
        "GRISTMILL_BACKEND": "reference",
        "GRISTMILL_SPARE_RUNNER": "0",
        "GRISTMILL_CONFIG": os.devnull,
        **settings,
    }
    log = store.parent / f"serve-{port}.log"
    with open(log, "wb") as output:
        command = [sys.executable, "-m", "gristmill", "serve"]
        process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    service = Service(process, port, store, tls_ca)
    try:
        for _ in range(600):
            assert process.poll() is None, log.read_text()
            with contextlib.suppress(OSError):
                assert service.request("GET", "/") == (200, b"Ollama is running")
                break
            time.sleep(0.05)
        yield service
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
