"""Thinking between two tags, then content: what models do whose template alone tells of it."""

from __future__ import annotations

from enum import Enum, auto

from .base import OutputParser, Parsed
from .scan import partial_tag


class _State(Enum):
    LOOKING = auto()  # for the opening tag; nothing but white space has come
    OPENED = auto()  # white space behind the opening tag is dropped
    THINKING = auto()
    CLOSED = auto()  # white space behind the closing tag is dropped
    CONTENT = auto()


class ThinkingParser(OutputParser):
    """Only the first thinking counts. ``inside``: the prompt ended with the opening tag."""

    def __init__(self, opening: str, closing: str, *, inside: bool = False):
        self._opening, self._closing = opening, closing
        self._state = _State.OPENED if inside else _State.LOOKING
        self._held = ""

    @property
    def in_thinking(self) -> bool:
        return self._state in (_State.LOOKING, _State.OPENED, _State.THINKING)

    def feed(self, text: str) -> Parsed:
        self._held += text
        parsed = Parsed()
        while self._held:
            before = self._state
            parsed += self._step()
            if self._state is before:
                break
        return parsed

    def finish(self) -> Parsed:
        """A beginning of a tag that came to nothing is text."""
        held, self._held = self._held, ""
        return Parsed(thinking=held) if self._state is _State.THINKING else Parsed(content=held)

    def _step(self) -> Parsed:
        """Until the state changes, or nothing more can be told from what is held."""
        if self._state is _State.LOOKING:
            return self._look()
        if self._state is _State.THINKING:
            return self._think()
        if self._state in (_State.OPENED, _State.CLOSED):
            self._held = self._held.lstrip()
            if self._held:
                self._state = _State.THINKING if self._state is _State.OPENED else _State.CONTENT
            return Parsed()
        text, self._held = self._held, ""
        return Parsed(content=text)

    def _look(self) -> Parsed:
        text = self._held.lstrip()
        if text.startswith(self._opening):
            self._held = text[len(self._opening) :]
            self._state = _State.OPENED
        elif not self._opening.startswith(text):
            self._state = _State.CONTENT
        return Parsed()

    def _think(self) -> Parsed:
        thinking, tag, rest = self._held.partition(self._closing)
        if tag:
            self._held, self._state = rest, _State.CLOSED
            return Parsed(thinking=thinking)
        keep = partial_tag(self._held, [self._closing])
        cut = len(self._held) - keep
        thinking, self._held = self._held[:cut], self._held[cut:]
        return Parsed(thinking=thinking)
