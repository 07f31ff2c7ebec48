"""Debian's docker-registry, started on a free port with a folder of its own."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .service import free_port

BINARY = shutil.which("docker-registry")
needs_docker_registry = pytest.mark.skipif(BINARY is None, reason="docker-registry is not installed")

CONFIG = """\
version: 0.1
log:
  level: error
storage:
  filesystem:
    rootdirectory: {folder}
  delete:
    enabled: true
http:
  addr: 127.0.0.1:{port}
"""


class DockerRegistry:
    """``host`` is what names of its models begin with; ``folder`` is where it stores them."""

    def __init__(self, port: int, folder: Path):
        self.port, self.host, self.folder = port, f"127.0.0.1:{port}", folder

    def request(self, method: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            return response.status, response.read()


@contextlib.contextmanager
def running_docker_registry(folder: Path) -> Iterator[DockerRegistry]:
    assert BINARY is not None
    registry = DockerRegistry(free_port(), folder / "registry")
    config = folder / "registry.yml"
    config.write_text(CONFIG.format(folder=registry.folder, port=registry.port))
    with open(folder / "registry.log", "wb") as log:
        process = subprocess.Popen([BINARY, "serve", str(config)], stdout=log, stderr=log)
    try:
        for _ in range(400):
            assert process.poll() is None, (folder / "registry.log").read_text()
            with contextlib.suppress(OSError):
                assert registry.request("GET", "/v2/")[0] == 200
                break
            time.sleep(0.05)
        yield registry
    finally:
        process.terminate()
        process.wait(timeout=20)
