"""For models of which only the tags are known: a thinking part, then calls behind one tag. Two parsers in a row.

The rules are Ollama's, for templates that bring no parser of their own.
"""

from __future__ import annotations

from typing import Any

from .base import Call, CallFormat, OutputParser, Parsed, StreamParser
from .declared import Declared
from .names import Names
from .reader import MAX_SPACE, Held, Tags, Wait
from .values import Broken, decode_object

_BRACKETS = Tags("{", "[", "]")


class Chain(OutputParser):
    """``first`` takes thinking out, ``second`` reads calls in what ``first`` takes for content."""

    def __init__(self, first: OutputParser, second: OutputParser) -> None:
        self._first, self._second = first, second
        self.call_format = second.call_format
        self.markers = first.markers + second.markers
        self.thinking_end = first.thinking_end

    @property
    def in_thinking(self) -> bool:
        return self._first.in_thinking

    def feed(self, text: str) -> Parsed:
        return self._then(self._first.feed(text))

    def finish(self) -> Parsed:
        return self._then(self._first.finish()) + self._second.finish()

    def _then(self, found: Parsed) -> Parsed:
        return Parsed(thinking=found.thinking) + self._second.feed(found.content)


class Passthrough(StreamParser):
    """All is content."""

    def _read(self) -> Wait[None]:
        self._in_thinking = False
        self.out.content(self.reader.rest())
        while (yield from self.reader.more()):
            self.out.content(self.reader.rest())


class GenericThinking(Passthrough):
    """Thinking between two tags at the beginning of an answer; with ``opened`` the prompt ended in the first one.

    White space around it is dropped. What is held back at the end because it may be a tag is lost.
    """

    def __init__(self, open_tag: str, close_tag: str, *, opened: bool = False) -> None:
        super().__init__(in_thinking=True)
        self._open, self._close, self._opened = Tags(open_tag), Tags(close_tag), opened
        self.markers = (open_tag, close_tag)
        self.thinking_end = close_tag

    def _read(self) -> Wait[None]:
        space = "" if self._opened else (yield from self.reader.skip_space(MAX_SPACE))
        if self._opened or (yield from self.reader.starts_with(self._open)):
            yield from self.reader.skip_space()
            if not (yield from self.reader.until(self._close, self.out.thinking)):
                return
            self._in_thinking = False
            yield from self.reader.skip_space()
        else:
            text = self.reader.rest()
            if self.reader.ended and self._open.may_begin(text):
                return
            self.out.content(space + text)
        yield from super()._read()


class GenericCalls(Passthrough):
    """Calls of declared tools behind ``tag``: a tool's name and an object, in whatever order and wrapping.

    The tags ``{`` and ``[`` count only at the beginning of an answer, and are content if no call comes of them. A
    call's name is the first of a tool's that occurs before the end of its object, which must be valid JSON. An
    object without a name before it is passed over: it belongs to no tool that could run.
    """

    def __init__(self, tag: str, tools: Declared, call_format: CallFormat | None = None) -> None:
        super().__init__()
        self._tag, self._bare = tag, tag in ("{", "[")
        self._names = Names(tools.names)
        self.call_format = call_format
        self.markers = () if self._bare else (tag,)

    def _read(self) -> Wait[None]:
        if not self._bare:
            if (yield from self.reader.until(Tags(self._tag), self.out.content)):
                yield from self._calls()
            return
        self.out.content((yield from self.reader.skip_space(MAX_SPACE)))
        if (yield from self.reader.next_char()) == self._tag:
            text = yield from self._calls()
            self.out.content(text)
        yield from super()._read()

    def _calls(self) -> Wait[str]:
        """Reads calls, until a bare tag's bracket closes around something else or the text ends.

        Returns the text that is content then.
        """
        search, n_calls = _Search(self._names), 0
        while True:
            while (point := (yield from self.reader.until(_BRACKETS, search.add))) and point != "{":
                search.add(point)
                if self._tag == "[" and search.closes(point):
                    return search.text()
            self.reader.unread(point)
            body, closed = yield from self.reader.balanced()
            call = search.call(body) if closed else None
            if call is not None:
                self.out.call(call)
                search, n_calls = _Search(self._names), n_calls + 1
            elif not closed:
                return search.text() + body if self._bare and not n_calls else ""
            elif self._tag == "{":
                return search.text()


class _Search:
    """The text since the last call, and the first tool's name in it."""

    def __init__(self, names: Names) -> None:
        self._names, self._name = names, ""
        self._held, self._fresh, self._tail = Held(), [""], ""
        self._n_open = 0

    def add(self, text: str) -> None:
        self._held(text)
        self._fresh.append(text)

    def closes(self, bracket: str) -> bool:
        """Whether ``bracket``, square, outside objects, closes the first one of this text."""
        self._n_open += 1 if bracket == "[" else -1
        return bracket == "]" and self._n_open == 0

    def call(self, body: str) -> Call | None:
        """The call that the object ``body`` completes."""
        self.add(body)
        if not self._name:
            # What was searched before is not searched again, but a name may begin at its end.
            text = self._tail + "".join(self._fresh)
            self._name = self._names.first(text)
            self._fresh, self._tail = [], text[max(0, len(text) - self._names.longest + 1) :]
        if not self._name:
            return None
        try:
            found = arguments(decode_object(body), self._name)
        except Broken:
            return None
        return None if found is None else Call(self._name, found)

    def text(self) -> str:
        return self._held.text()


def arguments(value: dict[str, Any], name: str) -> dict[str, Any] | None:
    """The arguments for tool ``name`` in a decoded object: of a call in it, at any depth, or the object itself.

    None for a call without arguments.
    """
    found, decided = _search(value, name)
    return found if decided else value


def _search(value: Any, name: str) -> tuple[dict[str, Any] | None, bool]:
    """The arguments found in ``value``, and whether that is decided."""
    if isinstance(value, dict):
        if "name" in value:
            found = _object(value.get("arguments"))
            return (_object(value.get("parameters")) if found is None else found), True
        if (found := _object(value.get(name))) is not None:
            return found, True
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        found, decided = _search(child, name)
        if decided:
            return found, decided
    return None, False


def _object(value: Any) -> dict[str, Any] | None:
    """``value`` if it is an object, or the JSON text of one."""
    if isinstance(value, str):
        try:
            return decode_object(value)
        except Broken:
            return None
    return value if isinstance(value, dict) else None
