"""One answer from the server: the stream of chunks, what it adds up to, and what is shown while it is awaited."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from gristmill.runtime.errors import GristmillError

from . import progress, terminal
from .client import Client
from .display import Display, Part

Chunk = Mapping[str, Any]


@dataclass
class Answer:
    """What has arrived; ``final`` is the last chunk with the timings (empty if the answer was stopped)."""

    text: str = ""
    thinking: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    final: Chunk = field(default_factory=dict)

    def add(self, part: Part) -> None:
        self.text += part.text
        self.thinking += part.thinking
        self.tool_calls += part.tool_calls

    def message(self) -> dict[str, Any]:
        """The assistant's turn, for the requests that come after it."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text}
        if self.thinking:
            message["thinking"] = self.thinking
        if self.tool_calls:
            message["tool_calls"] = self.tool_calls
        return message


def generated(chunk: Chunk) -> Part:
    """What a chunk of ``/api/generate`` brings."""
    return Part(chunk.get("response") or "", chunk.get("thinking") or "", chunk.get("tool_calls") or [])


def chatted(chunk: Chunk) -> Part:
    """What a chunk of ``/api/chat`` brings."""
    message = chunk.get("message") or {}
    return Part(message.get("content") or "", message.get("thinking") or "", message.get("tool_calls") or [])


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


def stream(client: Client, path: str, body: Mapping[str, Any]) -> Generator[dict[str, Any], None, None]:
    """The chunks of an answer; on a terminal the server is asked to say how much of the prompt it has read."""
    watched = terminal.is_terminal(sys.stderr)
    return client.stream(path, {**body, "progress": True} if watched else body)


def print_stream(
    chunks: Generator[Chunk, None, None],
    part_of: Callable[[Chunk], Part],
    display: Display,
    answer: Answer,
    spinner: progress.Progress,
) -> None:
    """Shows the parts as they come; ``spinner`` is shown before the first one that can be seen.

    ``answer`` is filled on the way, so that the caller has the part that came when Ctrl+C ends it.
    """
    with spinner, closing(chunks):
        try:
            for chunk in chunks:
                part = part_of(chunk)
                answer.add(part)
                if display.shows(part):
                    spinner.close()
                    display.push(part)
                elif not display.has_shown:
                    _show_wait(spinner, chunk, part)
                if chunk.get("done"):
                    answer.final = chunk
        finally:
            spinner.close()
            display.finish()
    if not answer.final:
        raise GristmillError("the server ended the answer before it was complete")


def _show_wait(spinner: progress.Progress, chunk: Chunk, part: Part) -> None:
    """A chunk without anything to see may say what the server is doing."""
    read = chunk.get("progress")
    if read:
        percent = 100 * read["prompt_eval_completed"] // max(read["prompt_eval_total"], 1)
        spinner.show(f"reading prompt {percent}%")
    elif part.thinking:
        spinner.show("thinking")
