"""Thinking between tags, then content with calls between tags: what most families write."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from .base import StreamParser
from .forms import CallForm, NoCalls
from .reader import MAX_SPACE, Tags, Trimmed, Wait, discard


class Start(Enum):
    """Where an answer begins: in content, in thinking, or in thinking if the opening tag comes first."""

    CONTENT = auto()
    THINKING = auto()
    LOOK = auto()


@dataclass(frozen=True)
class Thinking:
    """Thinking between ``open`` and ``close``; ``label`` is dropped where it follows ``open``.

    ``reopens``: it may begin anywhere in the content as well. Not ``shown``: it is dropped.
    """

    open: str = "<think>"
    close: str = "</think>"
    label: str = ""
    reopens: bool = False
    shown: bool = True


class TaggedParser(StreamParser):
    """White space around tags, and at the end of the answer, belongs to nobody and is dropped.

    ``calls_end_thinking``: a call's opening tag ends thinking that was not closed. ``ignored`` are further tags in
    content, which are dropped. An opening tag that repeats the prompt's at the beginning of thinking is dropped.
    """

    def __init__(
        self,
        *,
        start: Start = Start.CONTENT,
        thinking: Thinking | None = None,
        calls: CallForm | None = None,
        calls_end_thinking: bool = False,
        ignored: tuple[str, ...] = (),
    ) -> None:
        assert thinking or start is Start.CONTENT
        super().__init__(in_thinking=start is not Start.CONTENT)
        form = calls or NoCalls()
        think = thinking or Thinking("", "")
        self._start, self._thinking, self._form = start, think, form
        self._open, self._label = Tags(think.open), Tags(think.label)
        self._tags = Tags(*form.opens, *ignored, think.open if think.reopens else "")
        self._ends = Tags(think.close, *(form.opens if calls_end_thinking else ()))
        self._content = Trimmed(self.out.content)
        self.call_format = form.call_format
        self.markers = tuple(t for t in (think.open, think.close, *form.markers, *ignored) if t)
        self.thinking_end = think.close

    def _read(self) -> Wait[None]:
        tag = yield from self._opening()
        while True:
            if tag in self._form.opens:
                yield from self._call(tag)
            elif tag == self._thinking.open and tag:
                self._content.drop()
                tag = yield from self._think(opened=True)
                continue
            elif tag:
                self._content.drop()
                yield from self.reader.skip_space()
            tag = yield from self.reader.until(self._tags, self._content)
            if not tag:
                self._content(self.reader.rest())
                return

    def _opening(self) -> Wait[str]:
        """Reads to where content begins; returns the opening tag of a call that ended thinking, if one did."""
        if self._start is Start.THINKING:
            return (yield from self._think(opened=False))
        if self._start is Start.LOOK:
            space = yield from self.reader.skip_space(MAX_SPACE)
            if (yield from self.reader.starts_with(self._open)):
                return (yield from self._think(opened=True))
            self._in_thinking = False
            self._content(space)
        return ""

    def _think(self, *, opened: bool) -> Wait[str]:
        self._in_thinking = True
        put = Trimmed(self.out.thinking if self._thinking.shown else discard)
        if not opened:
            space = yield from self.reader.skip_space(MAX_SPACE)
            opened = bool((yield from self.reader.starts_with(self._open)))
            put("" if opened else space)
        if opened:
            yield from self.reader.skip_space()
            if (yield from self.reader.starts_with(self._label)):
                yield from self.reader.skip_space()
        tag = yield from self.reader.until(self._ends, put)
        if not tag:
            put(self.reader.rest())
            return ""
        self._in_thinking = False
        if tag != self._thinking.close:
            return tag
        yield from self.reader.skip_space()
        return ""

    def _call(self, tag: str) -> Wait[None]:
        text = yield from self._form.read(tag, self.reader, self.out.call)
        if text:
            self._content(text)
            return
        self._content.drop()
        yield from self.reader.skip_space()
