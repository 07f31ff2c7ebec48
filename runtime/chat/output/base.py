"""What a model's text is taken apart into, and what every parser of it offers. Knows no format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import msgspec

from .reader import Reader, Wait


@dataclass(frozen=True)
class Call:
    """The model wants a tool to run. The arguments' keys keep the model's order."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)


class Parsed(msgspec.Struct, frozen=True):
    """What a piece of text turned out to be; each part is often empty."""

    content: str = ""
    thinking: str = ""
    calls: tuple[Call, ...] = ()

    def __add__(self, after: Parsed) -> Parsed:
        return Parsed(self.content + after.content, self.thinking + after.thinking, self.calls + after.calls)


@dataclass(frozen=True)
class CallFormat:
    """How a call is written where it is one JSON object: ``open`` {name_key: .., arguments_key: {..}} ``close``."""

    open: str
    close: str
    name_key: str = "name"
    arguments_key: str = "arguments"


class OutputParser(ABC):
    """Takes one answer's text apart while it comes. However the text is cut into pieces, the sum is the same.

    ``call_format`` lets the service constrain a call by a grammar; None where a call is not one JSON object.
    ``markers`` are the tags to be seen in the text, which a detokenizer must not leave out as control tokens.
    ``thinking_end`` is what comes between thinking and content, for a prompt that is to go on with content.
    """

    call_format: CallFormat | None = None
    markers: tuple[str, ...] = ()
    thinking_end: str = ""

    @property
    @abstractmethod
    def in_thinking(self) -> bool:
        """Whether what comes next is thinking, or it is not decided yet; content begins where this turns false."""

    @abstractmethod
    def feed(self, text: str) -> Parsed:
        """What ``text`` makes certain. Raises OutputError for a call that is broken beyond reading."""

    @abstractmethod
    def finish(self) -> Parsed:
        """What was held back when the text ended; to be called once, last. Raises as ``feed`` does."""


class Output:
    """Gathers what a parser finds between two looks at it."""

    def __init__(self) -> None:
        self._content: list[str] = []
        self._thinking: list[str] = []
        self._calls: list[Call] = []
        self.content = self._content.append
        self.thinking = self._thinking.append
        self.call = self._calls.append

    def take(self) -> Parsed:
        found = Parsed("".join(self._content), "".join(self._thinking), tuple(self._calls))
        self._content.clear()
        self._thinking.clear()
        self._calls.clear()
        return found


class StreamParser(OutputParser):
    """A parser written as one straight reading of the text: ``_read`` waits wherever it needs more of it."""

    def __init__(self, *, in_thinking: bool = False) -> None:
        self.reader = Reader()
        self.out = Output()
        self._in_thinking = in_thinking
        self._flow: Wait[None] | None = self._read()

    @property
    def in_thinking(self) -> bool:
        return self._in_thinking

    def feed(self, text: str) -> Parsed:
        self.reader.feed(text)
        self._go_on()
        return self.out.take()

    def finish(self) -> Parsed:
        self.reader.end()
        self._go_on()
        return self.out.take()

    def _go_on(self) -> None:
        flow, self._flow = self._flow, None
        if flow is not None:
            for _ in flow:
                self._flow = flow
                return
        self.reader.rest()  # nobody will read it

    @abstractmethod
    def _read(self) -> Wait[None]:
        """Reads from ``reader`` and writes to ``out``. What it leaves unread when it returns is dropped."""
