"""Reading a message from the terminal: line editing, history, several lines. Knows no server and no commands.

A message that opens with three quotes (also behind a slash command) goes on over lines until three quotes end
it; Ctrl+J and a paste put in newlines anywhere. Import this module only where a terminal is: prompt_toolkit
takes longer to import than ``gristmill list`` takes in all.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app, run_in_terminal
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, has_focus
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import History
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout.processors import AfterInput, ConditionalProcessor
from prompt_toolkit.output import Output

from gristmill.runtime.errors import GristmillError

QUOTES = '"""'
_PROMPT, _CONTINUATION = ">>> ", "... "
_GREY = "ansibrightblack"
_HINT = FormattedText([(_GREY, "Send a message (/? for help)")])
_SEND_HINT = FormattedText([(_GREY, "Press Enter to send")])
_MAX_HISTORY_LINES = 100


class HistoryFile(History):
    """A file of the last 100 lines, oldest first: Ollama's own, so that both share it.

    A missing, unreadable or read-only file is no error: the history then lives as long as the prompt.
    ``is_kept`` false: nothing new is remembered, here or in the file.
    """

    def __init__(self, path: Path | None) -> None:
        super().__init__()
        self.is_kept = True
        self._path = path

    def append_string(self, string: str) -> None:
        if self.is_kept:
            super().append_string(string)

    def load_history_strings(self) -> Iterable[str]:
        """The lines, newest first."""
        return reversed(self._lines())

    def store_string(self, string: str) -> None:
        """Adds each line of ``string``. The new file replaces the old one in one step."""
        if self._path is None:
            return
        lines = [*self._lines(), *(line for line in string.split("\n") if line)]
        new = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new.touch(mode=0o600)
            new.write_text("\n".join(lines[-_MAX_HISTORY_LINES:]) + "\n", encoding="utf-8")
            new.replace(self._path)
        except OSError:
            with suppress(OSError):
                new.unlink()

    def _lines(self) -> list[str]:
        try:
            text = self._path.read_text(encoding="utf-8", errors="replace") if self._path else ""
        except OSError:
            return []
        return [line for line in text.split("\n") if line][-_MAX_HISTORY_LINES:]


class LineEditor:
    """Reads messages one after another. ``input`` and ``output`` are the terminal's by default.

    ``edit`` lets the user change a text somewhere else (Ctrl+G); it may raise GristmillError.
    """

    def __init__(
        self,
        history: HistoryFile,
        edit: Callable[[str], str],
        *,
        input: Input | None = None,
        output: Output | None = None,
    ) -> None:
        self.history = history
        self._session: PromptSession[str] = PromptSession(
            _PROMPT,
            multiline=True,
            prompt_continuation=_CONTINUATION,
            placeholder=_HINT,
            input_processors=[ConditionalProcessor(AfterInput(_SEND_HINT), Condition(_can_be_sent))],
            key_bindings=_key_bindings(edit),
            enable_suspend=True,
            history=history,
            input=input,
            output=output,
        )

    def read(self) -> str:
        """The next message. Raises EOFError at Ctrl+D on an empty line, KeyboardInterrupt at Ctrl+C."""
        return self._session.prompt()

    @property
    def pending(self) -> str:
        """What stood on the line when Ctrl+C ended it."""
        return self._session.default_buffer.text


def _can_be_sent() -> bool:
    """The last line is empty: another one may follow, and the message may be sent as well."""
    text = get_app().current_buffer.text
    return text.endswith("\n") and not is_open(text)


def _key_bindings(edit: Callable[[str], str]) -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("enter")
    def _(event: KeyPressEvent) -> None:
        if is_open(event.current_buffer.text):
            event.current_buffer.insert_text("\n")
        else:
            event.current_buffer.validate_and_handle()

    @bindings.add("c-j")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @bindings.add("c-g", filter=has_focus(DEFAULT_BUFFER))
    def _(event: KeyPressEvent) -> None:
        run_in_terminal(lambda: _edit(event.current_buffer, edit))

    return bindings


def _edit(buffer: Buffer, edit: Callable[[str], str]) -> None:
    try:
        text = edit(buffer.text)
    except GristmillError as error:
        print(f"Error: {error}", file=sys.stderr)
    else:
        buffer.document = Document(text, len(text))


def is_open(text: str) -> bool:
    """Whether ``text`` has begun a message in three quotes and not ended it."""
    return text.lstrip().startswith((QUOTES, "/")) and text.count(QUOTES) % 2 == 1


def unquoted(text: str) -> str:
    """``text`` without the three quotes around it."""
    text = text.strip()
    if not text.startswith(QUOTES):
        return text
    return text.removeprefix(QUOTES).removesuffix(QUOTES).strip("\n")
