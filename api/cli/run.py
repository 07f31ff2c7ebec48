"""The ``run`` command: one answer, or a chat. The model is obtained and a server is started if need be."""

from __future__ import annotations

import sys
from argparse import Namespace

from . import answer, terminal
from .address import read_settings
from .client import Client
from .model_source import DEFAULT_MODEL, obtain_model
from .session_server import running_server


def run(arguments: Namespace) -> int:
    settings = read_settings()
    client = Client.of(settings)
    prompt = " ".join([*_piped_input(), *arguments.prompt])
    with running_server(client):
        model = obtain_model(client, arguments.model or DEFAULT_MODEL, settings)
        if prompt or not (terminal.is_terminal(sys.stdin) and terminal.is_terminal(sys.stdout)):
            _answer_once(client, model, prompt, arguments)
        else:
            _chat(client, model, arguments, keeps_history=not settings.nohistory)
    return 0


def _piped_input() -> list[str]:
    """All of standard input, when it is no terminal and holds anything."""
    if terminal.is_terminal(sys.stdin):
        return []
    text = sys.stdin.buffer.read().decode("utf-8", errors="replace")
    return [text] if text.strip() else []


def _answer_once(client: Client, model: str, prompt: str, arguments: Namespace) -> None:
    """Prints the answer to ``prompt`` and two newlines; without a prompt the model is only loaded."""
    if not prompt:
        return answer.load_model(client, model, arguments.keepalive)
    body = answer.with_keep_alive({"model": model, "prompt": prompt}, arguments.keepalive)
    if arguments.format:
        body["format"] = arguments.format
    reply = answer.Answer()
    writer = terminal.answer_writer(sys.stdout, wrap=not arguments.nowordwrap)
    try:
        chunks = client.stream("/api/generate", body)
        answer.print_stream(chunks, answer.generated_text, writer, reply, answer.loading(client, model))
    finally:
        if reply.text:
            print("\n")
    if arguments.verbose:
        answer.print_metrics(reply.final)
    return None


def _chat(client: Client, model: str, arguments: Namespace, *, keeps_history: bool) -> None:
    from pathlib import Path

    from .conversation import Conversation
    from .line_editor import HistoryFile, LineEditor
    from .repl import Repl
    from .repl_commands import View

    history = HistoryFile(Path.home() / ".ollama" / "history" if keeps_history else None)
    view = View(history, word_wrap=not arguments.nowordwrap, verbose=arguments.verbose)
    Repl(client, Conversation(model, arguments.keepalive, format=arguments.format), view, LineEditor(history)).run()
