"""What every parser of a model's text offers. Parsers are state machines: they know no tokens, clocks or requests."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any


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


class OutputParser(ABC):
    """``feed`` text in pieces of any size, then ``finish`` once. Raises OutputError for calls that are broken."""

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
