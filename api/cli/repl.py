"""The interactive prompt: reads messages, streams answers, hands slash commands on. Knows no terminal codes."""

from __future__ import annotations

import sys
from typing import Protocol

from gristmill.runtime.errors import GristmillError

from . import answer, terminal
from .client import Client
from .conversation import Conversation
from .line_editor import unquoted
from .progress import spinner
from .repl_commands import Commands, Leave, View

_LEAVE_HINT = "\nUse Ctrl + d or /bye to exit."


class Editor(Protocol):
    """What reads a message; ``pending`` is the text on the line when Ctrl+C ended it."""

    def read(self) -> str: ...

    @property
    def pending(self) -> str: ...


class Repl:
    """One chat on a terminal, until the user leaves. Errors of a turn are shown and the chat goes on."""

    def __init__(self, client: Client, conversation: Conversation, view: View, editor: Editor) -> None:
        self._client = client
        self._conversation = conversation
        self._view = view
        self._editor = editor
        self._commands = Commands(client, conversation, view)

    def run(self) -> None:
        """Raises GristmillError when the model cannot be loaded at the start."""
        self._commands.load_model()
        while True:
            try:
                text = self._editor.read()
            except KeyboardInterrupt:
                if not self._editor.pending:
                    print(_LEAVE_HINT)
                continue
            except EOFError:
                return
            try:
                self._handle(text)
            except Leave:
                return
            except KeyboardInterrupt:  # of a command: an answer takes care of it itself
                print()
            except GristmillError as error:
                print(f"Error: {terminal.one_line(str(error))}", file=sys.stderr)

    def _handle(self, text: str) -> None:
        if text.lstrip().startswith("/"):
            self._commands.run(text.strip())
        elif message := unquoted(text):
            self._answer(message)

    def _answer(self, message: str) -> None:
        """Streams an answer. Ctrl+C stops it; what has come of it then stays in the conversation."""
        reply = answer.Answer()
        chunks = self._client.stream("/api/chat", self._conversation.request(message))
        writer = terminal.answer_writer(sys.stdout, wrap=self._view.word_wrap)
        try:
            answer.print_stream(chunks, answer.chat_text, writer, reply, spinner("reading the prompt"))
        except KeyboardInterrupt:
            pass
        finally:
            print("\n")
        if reply.text:
            self._conversation.add_turn(message, reply.text)
        if self._view.verbose and reply.final:
            answer.print_metrics(reply.final)
