"""Text on a terminal: word wrap of a stream, dim lines, and no escape sequence that a model made up.

Knows neither the server nor what the text means.
"""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Callable
from typing import Protocol, TextIO

GREY, RESET = "\x1b[90m", "\x1b[0m"
_DIM = "\x1b[2m"
_TAB_COLUMNS = 8
# C0 without tab and newline, DEL and C1: a model's text must not move the cursor or set the title.
_CONTROLS = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)])


def is_terminal(stream: TextIO) -> bool:
    """False also for a closed stream."""
    try:
        return stream.isatty()
    except ValueError:
        return False


def width() -> int:
    """Columns of the terminal, 80 when unknown."""
    return shutil.get_terminal_size().columns


def printable(text: str) -> str:
    """``text`` without control characters other than tab and newline."""
    return text.translate(_CONTROLS)


def for_stream(text: str, stream: TextIO) -> str:
    """``text`` as ``stream`` may have it: a file or a pipe gets every character."""
    return printable(text) if is_terminal(stream) else text


def one_line(text: str) -> str:
    """``text`` as one line that is safe on a terminal."""
    return printable(text.replace("\n", " ").replace("\t", " ")).strip()


def note(text: str) -> None:
    """One line on standard error, dim on a terminal."""
    print(f"{_DIM}{text}{RESET}" if is_terminal(sys.stderr) else text, file=sys.stderr, flush=True)


def say(text: str = "", end: str = "\n") -> None:
    """Prints for a terminal what came from a model or a user."""
    print(printable(text), end=end)


def columns(text: str) -> int:
    """Terminal columns that ``text`` takes: two for wide characters, none for combining ones."""
    if text.isascii():
        return len(text) + (_TAB_COLUMNS - 1) * text.count("\t")
    return sum(0 if unicodedata.category(c) in ("Mn", "Me", "Cf") else 1 + _is_wide(c) for c in text)


def _is_wide(char: str) -> bool:
    return unicodedata.east_asian_width(char) in ("W", "F")


class Writer(Protocol):
    """Where the pieces of an answer go."""

    def push(self, text: str) -> None: ...

    def finish(self) -> None:
        """Ends the answer: writes what is held back."""


class Verbatim:
    """Every piece at once and unchanged: what a pipe or a file gets."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def push(self, text: str) -> None:
        self._write(text)

    def finish(self) -> None:
        pass


class WordWrap:
    """Breaks streamed lines at spaces so that no word crosses the terminal's edge.

    The unfinished word at the end is held back until it ends, so that nothing written has to be taken back.
    Wide characters (Chinese, Japanese) are words of their own.
    """

    def __init__(self, write: Callable[[str], object], width: int) -> None:
        self._write = write
        self._width = max(width, 1)
        self._column = 0
        self._space = ""
        self._word = ""

    def push(self, text: str) -> None:
        for char in printable(text):
            if char == "\n":
                self._end_word()
                self._write("\n")
                self._column, self._space = 0, ""
            elif char in " \t":
                self._end_word()
                self._space += char
            elif _is_wide(char):
                self._end_word()
                self._word = char
                self._end_word()
            else:
                self._word += char
                if len(self._word) > self._width:
                    self._end_word()

    def finish(self) -> None:
        self._end_word()
        self._column, self._space = 0, ""

    def _end_word(self) -> None:
        if not self._word:
            return
        n = columns(self._space) + columns(self._word)
        if self._column and self._column + n > self._width:
            self._write("\n")
            self._column, self._space, n = 0, "", columns(self._word)
        self._write(self._space + self._word)
        self._column += n
        self._space = self._word = ""


class Sanitized(Verbatim):
    """A terminal without word wrap: every piece at once, without control characters."""

    def push(self, text: str) -> None:
        self._write(printable(text))


def answer_writer(stream: TextIO, *, wrap: bool) -> Writer:
    """The writer that fits ``stream``; each piece is flushed."""

    def write(text: str) -> None:
        stream.write(text)
        stream.flush()

    if not is_terminal(stream):
        return Verbatim(write)
    return WordWrap(write, width()) if wrap else Sanitized(write)
