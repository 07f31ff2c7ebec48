"""The shape that most families share: thinking up to a tag, content, and calls between two tags.

What differs is data: see ``families``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ...errors import OutputError, cut
from .base import Call, CallFormat, OutputParser, Parsed, Tools
from .scan import TextUntil, first_tag, partial_tag

ReadCalls = Callable[[str, Tools], list[Call]]


@dataclass(frozen=True)
class Thinking:
    """``cut_by``: tags that end thinking, too, and count as what they are. ``again``: may begin in content, as well."""

    open: str = "<think>"
    close: str = "</think>"
    cut_by: tuple[str, ...] = ()
    again: bool = False


@dataclass(frozen=True)
class CallSyntax:
    """``read`` makes calls of the text between the tags, and raises ValueError for what is broken.

    ``broken`` calls are an error, or dropped. ``unclosed``: reads what has no closing tag at the end, where the family
    allows that; None drops it.
    """

    open: str
    close: str
    read: ReadCalls
    broken: Literal["error", "drop"] = "drop"
    unclosed: ReadCalls | None = None
    format: CallFormat | None = None


class TaggedParser(OutputParser):
    """White space around thinking and calls is dropped, elsewhere it is kept. ``dropped`` tags are no text.

    ``starts``: inside of the thinking (one opening tag is dropped then), in front of it, or in the content.
    ``hides_thinking``: it is read, and dropped.
    """

    def __init__(
        self,
        thinking: Thinking | None,
        calls: CallSyntax | None,
        tools: Tools,
        *,
        starts: Literal["inside", "looking", "content"] = "content",
        dropped: tuple[str, ...] = (),
        hides_thinking: bool = False,
    ):
        self._thinking, self._calls, self._tools = thinking, calls, tools
        self._dropped, self._hides_thinking = dropped, hides_thinking
        self._starts = starts if thinking else "content"
        self._state: Literal["looking", "thinking", "content", "call"]
        self._state = "thinking" if self._starts == "inside" else self._starts
        self._fresh = self._starts == "inside"  # an opening tag may still come
        self._skips_space = self._starts != "content"
        self._held = ""
        self._call: TextUntil | None = None
        self.call_format = calls.format if calls else None

    @property
    def in_thinking(self) -> bool:
        return self._state in ("looking", "thinking")

    def feed(self, text: str) -> Parsed:
        self._held += text
        parsed = Parsed()
        while self._held:
            rest, state = len(self._held), self._state
            parsed += self._step()
            if (len(self._held), self._state) == (rest, state):
                break
        return parsed

    def finish(self) -> Parsed:
        """What was held back: text, if it is more than white space; a call without its closing tag, where allowed."""
        if self._state == "call":
            assert self._calls is not None
            assert self._call is not None
            return self._read(self._calls.unclosed, self._call.text) if self._calls.unclosed else Parsed()
        text, self._held = self._held.rstrip(), ""
        return self._as(text)

    def _step(self) -> Parsed:
        if self._state == "call":
            return self._in_call()
        if self._skips_space:
            self._held = self._held.lstrip()
            if not self._held:
                return Parsed()
        if self._state == "looking":
            return self._look()
        return self._text()

    def _look(self) -> Parsed:
        assert self._thinking is not None
        if self._held.startswith(self._thinking.open):
            self._held, self._state = self._held[len(self._thinking.open) :], "thinking"
        elif not self._thinking.open.startswith(self._held):
            self._state, self._skips_space = "content", False
        return Parsed()

    def _text(self) -> Parsed:
        """Thinking or content, up to the next tag."""
        if self._fresh:
            assert self._thinking is not None
            if self._held.startswith(self._thinking.open):
                self._held, self._fresh = self._held[len(self._thinking.open) :], False
                return Parsed()
            if self._thinking.open.startswith(self._held):
                return Parsed()
            self._fresh = False
        tags = self._tags()
        found = first_tag(self._held, tags)
        if found is None:
            keep = partial_tag(self._held, tags)
            whole = self._held[: len(self._held) - keep]
            cut_at = len(whole.rstrip()) if tags else len(whole)
            text, self._held = self._held[:cut_at], self._held[cut_at:]
            self._skips_space = self._skips_space and not text
            return self._as(text)
        at, tag = found
        text, self._held = self._held[:at].rstrip(), self._held[at + len(tag) :]
        parsed = self._as(text)
        self._enter(tag)
        return parsed

    def _as(self, text: str) -> Parsed:
        if self._state != "thinking":
            return Parsed(content=text)
        return Parsed() if self._hides_thinking else Parsed(thinking=text)

    def _tags(self) -> list[str]:
        if self._state == "thinking":
            assert self._thinking is not None
            return [self._thinking.close, *self._thinking.cut_by]
        tags = list(self._dropped)
        if self._thinking and self._thinking.again:
            tags.append(self._thinking.open)
        return [*tags, self._calls.open] if self._calls else tags

    def _enter(self, tag: str) -> None:
        self._skips_space = True
        if self._calls and tag == self._calls.open:
            self._state, self._call = "call", TextUntil(self._calls.close)
        elif self._thinking and tag == self._thinking.open and self._state == "content":
            self._state = "thinking"
        else:
            self._state = "content"

    def _in_call(self) -> Parsed:
        assert self._calls is not None
        assert self._call is not None
        text, self._held = self._held, ""
        found = self._call.feed(text)
        if found is None:
            return Parsed()
        body, self._held = found
        self._state = "content"
        return self._read(self._calls.read, body)

    def _read(self, read: ReadCalls, body: str) -> Parsed:
        assert self._calls is not None
        try:
            return Parsed(calls=tuple(read(body, self._tools)))
        except (ValueError, RecursionError) as error:
            if self._calls.broken == "drop":
                return Parsed()
            raise OutputError(f"error parsing tool call: raw={cut(body)}, err={error}") from None
