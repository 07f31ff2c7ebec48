"""The interactive prompt: reads messages, streams answers, hands slash commands on. Knows no terminal codes."""

from __future__ import annotations

import sys
from typing import Any, Protocol

from gristmill.runtime.errors import GristmillError

from . import answer, media, terminal
from .client import Client
from .conversation import Conversation, user_message
from .display import Display
from .keyboard import typed_ahead
from .line_editor import unquoted
from .metrics import print_metrics
from .progress import spinner
from .repl_commands import Commands, Leave
from .view import View

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
        with typed_ahead(sys.stdin):
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
                with typed_ahead(sys.stdin):
                    self._handle(text)
            except Leave:
                return
            except KeyboardInterrupt:  # of a command: an answer takes care of it itself
                print()
            except media.UnusableFile as error:
                print(terminal.one_line(str(error)), file=sys.stderr)
            except GristmillError as error:
                print(f"Error: {terminal.one_line(str(error))}", file=sys.stderr)

    def _handle(self, text: str) -> None:
        takes_files = self._conversation.abilities.takes_files
        if text.lstrip().startswith("/") and not (takes_files and media.starts_with_file(text)):
            self._commands.run(text.strip())
        elif message := unquoted(text):
            self._answer(self._with_files(message) if takes_files else user_message(message))

    def _with_files(self, text: str) -> dict[str, Any]:
        """The files that ``text`` names go along. Raises UnusableFile."""
        text, attachments = media.attach(text)
        for file in attachments:
            terminal.say(f"Added {file.kind} '{file.path}'")
        return user_message(text, [file.data for file in attachments])

    def _answer(self, message: dict[str, Any]) -> None:
        """Streams an answer. Ctrl+C stops it; what has come of it then stays in the conversation."""
        reply = answer.Answer()
        chunks = answer.stream(self._client, "/api/chat", self._conversation.request(message))
        display = Display(sys.stdout, wrap=self._view.word_wrap, hides_thinking=self._view.hides_thinking)
        try:
            answer.print_stream(chunks, answer.chatted, display, reply, spinner("reading prompt"))
        except KeyboardInterrupt:
            pass
        finally:
            if display.has_shown or reply.final:
                print("\n")
        if reply.text or reply.tool_calls:
            self._conversation.add_turn(message, reply.message())
        if self._view.verbose and reply.final:
            print_metrics(reply.final)
