"""One answer from the server to the screen: the stream, and the timings after it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from gristmill.runtime.errors import GristmillError

from ..durations import format_duration
from . import progress
from .client import Client
from .terminal import Writer

Chunk = Mapping[str, Any]


@dataclass
class Answer:
    """What has arrived: ``text``, and ``final``, the last chunk with the timings (empty if it was stopped)."""

    text: str = ""
    final: Chunk = field(default_factory=dict)


def generated_text(chunk: Chunk) -> str:
    """The text of a chunk of ``/api/generate``."""
    return str(chunk.get("response", ""))


def chat_text(chunk: Chunk) -> str:
    """The text of a chunk of ``/api/chat``."""
    return str((chunk.get("message") or {}).get("content", ""))


def load_model(client: Client, model: str, keep_alive: str | None = None) -> None:
    """Loads ``model`` into the server, with a bar: a generation without a prompt does that."""
    with loading(client, model):
        client.post("/api/generate", with_keep_alive({"model": model}, keep_alive))


def loading(client: Client, model: str) -> progress.Progress:
    """A spinner that becomes a bar while the server loads ``model``."""

    def poll() -> tuple[int, int] | None:
        try:
            running = client.get("/api/ps").get("models") or []
        except GristmillError:
            return None  # the request that waits for the model says what is wrong
        for row in running:
            if row.get("loading") and row.get("name") in (model, f"{model}:latest"):
                return int(row["loading"]["completed"]), int(row["loading"]["total"])
        return None

    return progress.spinner("loading model", poll)


def with_keep_alive(body: dict[str, Any], keep_alive: str | None) -> dict[str, Any]:
    return body if keep_alive is None else {**body, "keep_alive": keep_alive}


def print_stream(
    chunks: Generator[Chunk, None, None],
    text_of: Callable[[Chunk], str],
    writer: Writer,
    answer: Answer,
    spinner: progress.Progress,
) -> None:
    """Writes the texts as they come; ``spinner`` is shown before the first one.

    ``answer`` is filled on the way, so that the caller has the part that came when Ctrl+C ends it.
    """
    with spinner, closing(chunks):
        try:
            for chunk in chunks:
                spinner.close()
                text = text_of(chunk)
                answer.text += text
                writer.push(text)
                if chunk.get("done"):
                    answer.final = chunk
        finally:
            spinner.close()
            writer.finish()
    if not answer.final:
        raise GristmillError("the server ended the answer before it was complete")


def print_metrics(final: Chunk) -> None:
    """The timings of a final chunk on standard error; what is zero is left out."""
    rows = [
        ("total duration", _duration(final, "total_duration")),
        ("load duration", _duration(final, "load_duration")),
        *_work(final, "prompt eval", "prompt_eval"),
        *_work(final, "eval", "eval"),
    ]
    for name, value in rows:
        if value:
            print(f"{name + ':':<21} {value}", file=sys.stderr)
    sys.stderr.flush()


def _duration(final: Chunk, key: str) -> str:
    nanoseconds = final.get(key) or 0
    return format_duration(nanoseconds) if nanoseconds else ""


def _work(final: Chunk, name: str, key: str) -> list[tuple[str, str]]:
    count, nanoseconds = final.get(f"{key}_count") or 0, final.get(f"{key}_duration") or 0
    return [
        (f"{name} count", f"{count} token(s)" if count else ""),
        (f"{name} duration", _duration(final, f"{key}_duration")),
        (f"{name} rate", f"{count / nanoseconds * 1e9:.2f} tokens/s" if count and nanoseconds else ""),
    ]
