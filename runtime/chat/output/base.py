"""What every parser of a model's text offers. Parsers are state machines: they know no tokens, clocks or requests."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Tools = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Call:
    """A tool call; ``arguments`` in the order in which they were written."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class CallFormat:
    """How a family writes a call, where that is one JSON object: ``open``, the object, ``close``."""

    open: str
    close: str
    name_key: str = "name"
    arguments_key: str = "arguments"


@dataclass(frozen=True)
class Parsed:
    """What some text has turned out to be."""

    content: str = ""
    thinking: str = ""
    calls: tuple[Call, ...] = ()

    def __add__(self, other: Parsed) -> Parsed:
        return Parsed(self.content + other.content, self.thinking + other.thinking, self.calls + other.calls)


class OutputParser(ABC):
    """``feed`` text in pieces of any size, then ``finish`` once. How text is cut into pieces changes nothing.

    Both raise OutputError for calls that are broken, in families where that is an error.
    """

    call_format: CallFormat | None = None

    @property
    def in_thinking(self) -> bool:
        """Whether content has not begun: the model thinks, or may be about to."""
        return False

    @abstractmethod
    def feed(self, text: str) -> Parsed:
        """What ``text`` adds; some of it may be held back until more is known."""

    def finish(self) -> Parsed:
        """What was held back, where it is anything."""
        return Parsed()


class Passthrough(OutputParser):
    """All is content."""

    def feed(self, text: str) -> Parsed:
        return Parsed(content=text)


class Chain(OutputParser):
    """``first`` tells thinking from content, ``second`` looks for calls in the content."""

    def __init__(self, first: OutputParser, second: OutputParser):
        self.first, self.second = first, second
        self.call_format = second.call_format

    @property
    def in_thinking(self) -> bool:
        return self.first.in_thinking

    def feed(self, text: str) -> Parsed:
        return self._through(self.first.feed(text))

    def finish(self) -> Parsed:
        return self._through(self.first.finish()) + self.second.finish()

    def _through(self, parsed: Parsed) -> Parsed:
        rest = self.second.feed(parsed.content) if parsed.content else Parsed()
        return Parsed(rest.content, parsed.thinking, parsed.calls + rest.calls)
