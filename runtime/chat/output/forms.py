"""How families of models write tool calls: the interface, and calls between an opening and a closing tag."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from ...errors import OutputError, cut
from .base import Call, CallFormat
from .reader import Reader, Tags, Wait
from .values import Broken

Emit = Callable[[Call], object]
Parse = Callable[[str], Iterable[Call]]


class CallForm(Protocol):
    """``opens`` are the tags that begin calls, ``markers`` all control texts that reading calls takes."""

    @property
    def opens(self) -> tuple[str, ...]: ...

    @property
    def markers(self) -> tuple[str, ...]: ...

    @property
    def call_format(self) -> CallFormat | None: ...

    def read(self, tag: str, reader: Reader, emit: Emit) -> Wait[str]:
        """Reads calls on from behind ``tag``, one of ``opens``, and hands them to ``emit``.

        Returns text, ``tag`` included, that turned out to be content. Raises OutputError.
        """
        ...


@dataclass(frozen=True)
class NoCalls:
    """Answers without tool calls."""

    opens: tuple[str, ...] = ()
    markers: tuple[str, ...] = ()
    call_format: CallFormat | None = None

    def read(self, tag: str, reader: Reader, emit: Emit) -> Wait[str]:
        yield from ()
        return tag


@dataclass(frozen=True)
class Delimited:
    """Calls between ``open`` and ``close``, which ``parse`` reads as a whole; it raises Broken.

    Broken calls are an error with ``strict``, else they are dropped. A call that the answer ends in is dropped,
    too, unless ``parse_unclosed`` makes something of it.
    """

    open: str
    close: str
    parse: Parse
    strict: bool = False
    parse_unclosed: Parse | None = None
    inner: tuple[str, ...] = ()
    call_format: CallFormat | None = None

    @property
    def opens(self) -> tuple[str, ...]:
        return (self.open,)

    @property
    def markers(self) -> tuple[str, ...]:
        return (self.open, self.close, *self.inner)

    def read(self, tag: str, reader: Reader, emit: Emit) -> Wait[str]:
        body, closed = yield from reader.take_until(Tags(self.close))
        parse = self.parse if closed else self.parse_unclosed
        if parse is not None:
            emit_calls(parse, body, emit, strict=self.strict)
        return ""


def emit_calls(parse: Parse, body: str, emit: Emit, *, strict: bool) -> None:
    """Hands the calls in ``body`` to ``emit``, all or none. Raises OutputError for broken ones, if ``strict``."""
    try:
        calls = tuple(parse(body))
    except Broken as error:
        if strict:
            raise OutputError(f"the model wrote a broken tool call: {cut(body.strip())}: {error}") from None
        return
    for call in calls:
        emit(call)


def named(name: str) -> str:
    """``name`` without the white space around it. Raises Broken for none, and for one that is no name."""
    name = name.strip()
    if not name:
        raise Broken("no function name")
    if "\n" in name or len(name) > 256:
        raise Broken("no valid function name")
    return name
