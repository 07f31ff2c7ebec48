"""An Ollama-shaped HTTP server in a thread, with canned models and answers, that remembers what it was asked."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DIGEST = "a80c4f17acd55265feec403c7aef86be0c25983ab279d83f3bcd3abbcb5b8b72"
METRICS = {
    "total_duration": 1234567891,
    "load_duration": 12345600,
    "prompt_eval_count": 26,
    "prompt_eval_duration": 130079000,
    "eval_count": 259,
    "eval_duration": 4232710000,
}


def model(name: str, *, size: int = 2019393189, modified_at: str = "2020-01-01T00:00:00Z") -> dict[str, Any]:
    return {"name": name, "model": name, "modified_at": modified_at, "size": size, "digest": DIGEST, "details": {}}


class FakeOllama:
    """What the server has (change it freely) and ``requests``: method, path and decoded body of each one."""

    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self.version = "0.33.0"
        self.models = {"smollm2:latest": model("smollm2:latest")}
        self.loaded: list[dict[str, Any]] = []
        self.shown: dict[str, Any] = {"details": {}, "model_info": {}}
        # Texts; or dicts, which are parts of a message ("thinking", "tool_calls"), or "progress" of the prompt.
        self.pieces: list[Any] = ["Hel", "lo ", "wor", "ld."]
        self.may_go_on = threading.Event()  # every stream stops behind its first line until this is set
        self.may_go_on.set()
        self.embeddings = [[0.25, -0.5]]
        self.error: str | None = None  # sent in mid-stream, after the pieces
        self.ends_early = False
        self.blobs: dict[str, bytes] = {}
        self.statuses = ["parsing GGUF", "writing manifest", "success"]
        self.banner = b"Ollama is running"
        self.requests: list[tuple[str, str, Any]] = []

    def paths(self) -> list[str]:
        return [f"{method} {path}" for method, path, _ in self.requests]

    def bodies(self, path: str) -> list[Any]:
        return [body for _, asked, body in self.requests if asked == path]

    def has(self, name: str) -> bool:
        return (name if ":" in name else f"{name}:latest") in self.models


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeOllama

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._note(None)
        self._send(b"", 200 if self.path.rpartition("/")[2] in self.fake.blobs else 404)

    def do_GET(self) -> None:
        self._note(None)
        fake = self.fake
        answers = {
            "/api/version": {"version": fake.version},
            "/api/tags": {"models": list(fake.models.values())},
            "/api/ps": {"models": fake.loaded},
        }
        if self.path == "/":
            self._send(fake.banner)
        elif self.path in answers and fake.banner == b"Ollama is running":
            self._json(answers[self.path])
        else:
            self._send(b"404 page not found", 404)

    def do_DELETE(self) -> None:
        name = self._body()["model"]
        if not self.fake.has(name):
            return self._json({"error": f"model '{name}' not found"}, 404)
        del self.fake.models[name if ":" in name else f"{name}:latest"]
        return self._send(b"")

    def do_POST(self) -> None:
        if self.path.startswith("/api/blobs/"):
            return self._store_blob()
        body = self._body()
        if self.path == "/api/create":
            if "!" in body["model"]:
                return self._json({"error": "invalid model name"}, 400)
            name = body["model"] if ":" in body["model"] else f"{body['model']}:latest"
            self.fake.models[name] = model(name)
            return self._stream([{"status": status} for status in self.fake.statuses])
        if self.path in ("/api/pull", "/api/push"):
            return self._transfer(body["model"])
        name = body.get("model", body.get("source"))
        if not self.fake.has(name):
            return self._json({"error": f"model '{name}' not found"}, 404)
        if self.path == "/api/show":
            return self._json(self.fake.shown)
        if self.path == "/api/copy":
            return self._send(b"")
        if self.path == "/api/embed":
            return self._json({"model": name, "embeddings": self.fake.embeddings, **METRICS})
        return self._answer(body)

    def _transfer(self, name: str) -> None:
        verb = self.path[len("/api/") :]
        lines: list[dict[str, Any]] = [{"status": "pulling manifest" if verb == "pull" else "retrieving manifest"}]
        if self.fake.error:
            return self._stream([*lines, {"error": self.fake.error}])
        if verb == "pull":
            self.fake.models[name if ":" in name else f"{name}:latest"] = model(name)
        digest = {"digest": "sha256:dde5aa3fc5ff" + "0" * 52, "total": 10}
        lines += [{"status": f"{verb}ing dde5aa3fc5ff", **digest, **more} for more in ({}, {"completed": 10})]
        last = "verifying sha256 digest" if verb == "pull" else "pushing manifest"
        return self._stream([*lines, {"status": last}, {"status": "success"}])

    def _answer(self, body: dict[str, Any]) -> None:
        chat = self.path == "/api/chat"
        if not body.get("messages" if chat else "prompt"):
            return self._json({"model": body["model"], "response": "", "done": True, "done_reason": "load"})

        def chunk(piece: str | dict[str, Any]) -> dict[str, Any]:
            parts = {"content": piece} if isinstance(piece, str) else {"content": "", **piece}
            progress = {"progress": parts.pop("progress")} if "progress" in parts else {}
            if chat:
                return {"message": {"role": "assistant", **parts}, **progress}
            return {"response": parts.pop("content"), **parts, **progress}

        lines = [{**chunk(piece), "done": False} for piece in self.fake.pieces]
        if self.fake.error:
            lines.append({"error": self.fake.error})
        elif not self.fake.ends_early:
            lines.append({**chunk(""), "done": True, "done_reason": "stop", **METRICS})
        return self._stream(lines)

    def _store_blob(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self._note(content)
        digest = self.path.rpartition("/")[2]
        if digest != f"sha256:{hashlib.sha256(content).hexdigest()}":
            return self._json({"error": f'digest mismatch, expected "{digest}"'}, 400)
        self.fake.blobs[digest] = content
        return self._send(b"", 201)

    def _body(self) -> Any:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        self._note(body)
        return body

    def _note(self, body: Any) -> None:
        self.fake.requests.append((self.command, self.path, body))

    def _json(self, item: Any, status: int = 200) -> None:
        self._send(json.dumps(item).encode(), status)

    def _send(self, content: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _stream(self, lines: list[dict[str, Any]]) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in lines:
            data = json.dumps(line).encode() + b"\n"
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.fake.may_go_on.wait(60)
        if self.fake.ends_early:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves in the middle of an answer is no error."""


@contextmanager
def fake_ollama() -> Iterator[FakeOllama]:
    """A running server on a free port of this machine, stopped at the end."""
    handler = type("Handler", (_Handler,), {})
    server = _Server(("127.0.0.1", 0), handler)
    fake = FakeOllama(server.server_address[1])
    handler.fake = fake  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
