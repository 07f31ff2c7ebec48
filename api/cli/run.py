"""The ``run`` command: one answer, a vector, or a chat. The model is obtained and a server is started if need be."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from dataclasses import dataclass
from typing import Any

from . import answer, flags, terminal
from .abilities import Abilities
from .address import read_settings
from .client import Client
from .display import Display
from .metrics import print_metrics
from .model_source import DEFAULT_MODEL, obtain_model
from .session_server import running_server


@dataclass(frozen=True)
class _Asked:
    """What the flags say."""

    keep_alive: str | None
    format: str | dict[str, Any]
    think: bool | str | None
    hides_thinking: bool
    wraps: bool
    verbose: bool

    @classmethod
    def of(cls, arguments: Namespace) -> _Asked:
        """Raises GristmillError."""
        return cls(
            keep_alive=arguments.keepalive,
            format=flags.parse_format(arguments.format),
            think=None if arguments.think is None else flags.parse_think(arguments.think),
            hides_thinking=arguments.hidethinking,
            wraps=not arguments.nowordwrap,
            verbose=arguments.verbose,
        )


def run(arguments: Namespace) -> int:
    asked = _Asked.of(arguments)
    settings = read_settings()
    client = Client.of(settings)
    piped, words = _piped_input(), " ".join(arguments.prompt)
    with running_server(client):
        model = obtain_model(client, arguments.model or DEFAULT_MODEL, settings, insecure=arguments.insecure)
        abilities = Abilities.of(client.post("/api/show", {"model": model}))
        if abilities.embeds:
            from .embedding import print_vector

            print_vector(client, model, _joined(piped, words), arguments)
        elif piped or words or not (terminal.is_terminal(sys.stdin) and terminal.is_terminal(sys.stdout)):
            _answer_once(client, _request(model, piped, words, abilities), abilities, asked)
        else:
            _chat(client, model, abilities, asked, keeps_history=not settings.nohistory)
    return 0


def _piped_input() -> str:
    """All of standard input, when it is no terminal and holds anything."""
    if terminal.is_terminal(sys.stdin):
        return ""
    text = sys.stdin.buffer.read().decode("utf-8", errors="replace")
    return text if text.strip() else ""


def _joined(piped: str, words: str) -> str:
    return " ".join(filter(None, (piped, words)))


def _request(model: str, piped: str, words: str, abilities: Abilities) -> dict[str, Any]:
    """The model, and the prompt if there is one. Files are looked for in what the user typed, not in what was piped.

    Raises UnusableFile.
    """
    body: dict[str, Any] = {"model": model}
    if abilities.takes_files and words:
        from .media import attach

        words, attachments = attach(words)
        for file in attachments:
            print(f"Added {file.kind} '{file.path}'", file=sys.stderr)
        if attachments:
            body["images"] = [file.data for file in attachments]
            words = words or " "  # without any prompt the server would only load the model
    prompt = _joined(piped, words)
    return {**body, "prompt": prompt} if prompt else body


def _answer_once(client: Client, body: dict[str, Any], abilities: Abilities, asked: _Asked) -> None:
    """Prints the answer to the prompt and two newlines; without a prompt the model is only loaded."""
    from .conversation import wanted_thinking

    if "prompt" not in body:
        return answer.load_model(client, body["model"], asked.keep_alive)
    think = wanted_thinking(asked.think, abilities)
    if think is not None:
        body["think"] = think
    if asked.format:
        body["format"] = asked.format
    reply = answer.Answer()
    display = Display(sys.stdout, wrap=asked.wraps, hides_thinking=asked.hides_thinking)
    try:
        chunks = answer.stream(client, "/api/generate", answer.with_keep_alive(body, asked.keep_alive))
        answer.print_stream(chunks, answer.generated, display, reply, answer.loading(client, body["model"]))
    finally:
        if display.has_shown:
            print("\n")
    if asked.verbose:
        print_metrics(reply.final)
    return None


def _chat(client: Client, model: str, abilities: Abilities, asked: _Asked, *, keeps_history: bool) -> None:
    from pathlib import Path

    from .conversation import Conversation
    from .external_editor import ExternalEditor
    from .line_editor import HistoryFile, LineEditor
    from .repl import Repl
    from .view import View

    history = HistoryFile(Path.home() / ".ollama" / "history" if keeps_history else None)
    conversation = Conversation(model, asked.keep_alive, format=asked.format, think=asked.think, abilities=abilities)
    view = View(history, word_wrap=asked.wraps, verbose=asked.verbose, hides_thinking=asked.hides_thinking)
    Repl(client, conversation, view, LineEditor(history, ExternalEditor(os.environ).edit)).run()
