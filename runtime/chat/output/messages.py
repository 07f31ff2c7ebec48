"""Answers that are several messages, each with a header: ``<|start|>`` header ``<|message|>`` body, an end tag."""

from __future__ import annotations

from abc import abstractmethod

from .base import StreamParser
from .reader import Put, Tags, Wait, discard

START, MESSAGE = "<|start|>", "<|message|>"
MAX_HEADER = 4096
_START, _MESSAGE = Tags(START), Tags(MESSAGE)


class MessageParser(StreamParser):
    """The prompt has begun the first message: its ``<|start|>`` and role, or with ``header`` its body, too.

    ``ends`` close a message, ``last`` the answer. An answer that begins with none of ``heads`` has no headers at
    all: it is one body, as if its header were empty.
    """

    def __init__(self, *, ends: tuple[str, ...], last: tuple[str, ...], heads: tuple[str, ...], header: str | None):
        super().__init__(in_thinking=True)
        self._ends, self._last = Tags(*ends, *last, START), Tags(*last)
        self._heads, self._begun = Tags(START, MESSAGE, *heads), header

    def _read(self) -> Wait[None]:
        header = self._begun
        if header is None:
            header = yield from self._first_header()
        while header is not None:
            tag = yield from self._body(header)
            if tag in self._last:
                return
            if tag != START:
                tag = yield from self.reader.until(_START, discard)
            header = (yield from self._header()) if tag else None

    @abstractmethod
    def _body(self, header: str) -> Wait[str]:
        """Reads the body of a message with ``header``; returns the tag that ended it, "" at the end of the stream."""

    def _copy(self, put: Put) -> Wait[str]:
        """Hands a body on; returns the tag that ended it."""
        tag = yield from self.reader.until(self._ends, put)
        if not tag:
            put(self.reader.rest())
        return tag

    def _first_header(self) -> Wait[str | None]:
        head = yield from self.reader.starts_with(self._heads)
        if head == MESSAGE or not head:
            return ""
        header = yield from self._header()
        return header if header is None or head == START else head + header

    def _header(self) -> Wait[str | None]:
        """What stands before the next <|message|>; None, and the text is dropped, if there is none."""
        header, tag = yield from self.reader.take_until(_MESSAGE, MAX_HEADER)
        return header if tag else None
