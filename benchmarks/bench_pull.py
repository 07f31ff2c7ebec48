"""How fast is a pull from a registry on this machine, and how much memory does the server take for it?

    python benchmarks/bench_pull.py [--gigabytes 1] [--rounds 3] [--folder DIR]

Starts Debian's docker-registry and a server of ours, both on free ports with folders of their own below DIR, and puts
one blob of random bytes into the registry. Each round fetches it with curl, syncs the file, and hashes it with
sha256sum; then it is pulled by the server, into an empty store. Both end with a synced file whose hash is known, so the
ratio of the two times is what to quote. How fast the machine fetches, writes and hashes, with OpenSSL as the server
does, is in the table: the slowest of them is the limit. Prints a table and a final JSON line.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = b'{"model_format":"gguf","model_family":"llama"}'
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
REGISTRY = """\
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: 127.0.0.1:{port}}}
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@contextlib.contextmanager
def running(command: list[str], port: int, path: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env={**os.environ, **env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                request("GET", port, path)
                break
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


def request(method: str, port: int, path: str, body: object = None, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
    return connection.getresponse()


def fill(port: int, blob: Path, size: int) -> str:
    """Puts random bytes and a manifest that names them into the registry; returns their digest."""
    with blob.open("w+b") as file:
        while file.tell() < size:
            file.write(os.urandom(min(1 << 24, size - file.tell())))
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        layer = upload(port, file, digest, size, "application/vnd.example.bulk")
    config = upload(port, CONFIG, hashlib.sha256(CONFIG).hexdigest(), len(CONFIG), CONFIG_TYPE)
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
    answer = request("PUT", port, "/v2/bench/model/manifests/latest", json.dumps(manifest), Content_Type=MANIFEST)
    assert answer.status == 201, answer.read()
    return str(layer["digest"])


def upload(port: int, body: object, hex_digest: str, size: int, media_type: str) -> dict[str, object]:
    """Puts one blob into the registry; returns its entry in a manifest."""
    location = request("POST", port, "/v2/bench/model/blobs/uploads/", b"").headers["Location"]
    path = location.partition(f":{port}")[2] or location
    answer = request("PUT", port, f"{path}&digest=sha256:{hex_digest}", body, Content_Length=str(size))
    assert answer.status == 201, answer.read()
    return {"mediaType": media_type, "digest": f"sha256:{hex_digest}", "size": size}


def by_curl(url: str, file: Path) -> dict[str, float]:
    """Seconds of each step."""
    times = {}
    for name, command in (
        ("curl", ["curl", "--silent", "--fail", "--output", str(file), url]),
        ("sync", ["sync", "--data", str(file)]),
        ("sha256sum", ["sha256sum", "--binary", str(file)]),
    ):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times[name] = time.perf_counter() - start
    start = time.perf_counter()
    with file.open("rb") as data:
        hashlib.file_digest(data, "sha256")
    times["OpenSSL"] = time.perf_counter() - start
    file.unlink()
    return times


def by_pull(port: int, registry: int) -> float:
    name = f"127.0.0.1:{registry}/bench/model"
    start = time.perf_counter()
    lines = request("POST", port, "/api/pull", json.dumps({"model": name, "insecure": True})).read().splitlines()
    elapsed = time.perf_counter() - start
    assert json.loads(lines[-1]) == {"status": "success"}, lines[-1]
    assert request("DELETE", port, "/api/delete", json.dumps({"model": name})).status == 200
    return elapsed


def peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where all files go, to measure that disk")
    options = parser.parse_args()
    binary = shutil.which("docker-registry") or sys.exit("apt install docker-registry first")
    size = int(options.gigabytes * 1e9)
    with tempfile.TemporaryDirectory(dir=options.folder) as text, contextlib.ExitStack() as stack:
        folder, registry, port = Path(text), free_port(), free_port()
        (folder / "registry.yml").write_text(REGISTRY.format(folder=folder / "registry", port=registry))
        stack.enter_context(running([binary, "serve", str(folder / "registry.yml")], registry, "/v2/"))
        server = stack.enter_context(
            running(
                [sys.executable, "-m", "gristmill", "serve"],
                port,
                "/",
                OLLAMA_HOST=f"127.0.0.1:{port}",
                OLLAMA_MODELS=str(folder / "models"),
                GRISTMILL_SPARE_RUNNER="0",
                HOME=text,
            )
        )
        url = f"http://127.0.0.1:{registry}/v2/bench/model/blobs/{fill(registry, folder / 'blob', size)}"
        (folder / "blob").unlink()
        idle = peak_bytes(server.pid)
        steps, pulls = [], []
        for _ in range(options.rounds):
            steps.append(by_curl(url, folder / "curl"))
            pulls.append(by_pull(port, registry))
        report(options, size, steps, pulls, idle, peak_bytes(server.pid))


def report(
    options: argparse.Namespace, size: int, steps: list[dict[str, float]], pulls: list[float], idle: int, peak: int
) -> None:
    rows = {name: [size / step[name] / 1e6 for step in steps] for name in steps[0]}
    rows["all three"] = [size / sum(step[name] for name in ("curl", "sync", "sha256sum")) / 1e6 for step in steps]
    rows["gristmill pull"] = [size / seconds / 1e6 for seconds in pulls]
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {size / 1e9:g} GB")
    print(f"{'MB/s':<16}{'median':>8}{'least':>8}{'most':>8}")
    for name, values in rows.items():
        print(f"{name:<16}{statistics.median(values):>8.0f}{min(values):>8.0f}{max(values):>8.0f}")
    ratio = statistics.median(rows["gristmill pull"]) / statistics.median(rows["all three"])
    limit = min(("curl", "sync", "OpenSSL"), key=lambda name: statistics.median(rows[name]))
    of_limit = statistics.median(rows["gristmill pull"]) / statistics.median(rows[limit])
    print(f"ratio {ratio:.2f}, {of_limit:.2f} of {limit}; server {idle / 1e6:.0f} MB, {peak / 1e6:.0f} at most")
    medians = {name.replace(" ", "_"): round(statistics.median(values)) for name, values in rows.items()}
    ratios = {"ratio": round(ratio, 3), "of_limit": round(of_limit, 3)}
    print(json.dumps({"command": sys.argv, "mb_s": medians, **ratios, "peak_mb": round(peak / 1e6)}))


if __name__ == "__main__":
    main()
