"""Text that arrives in pieces, read straight ahead: tags, bracketed values, what may be a tag held back.

Reading is written as generators that wait (``yield``) for more text, so that a format reads like its own grammar.
Each character is looked at a bounded number of times, whatever the pieces; what is held is bounded, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from typing import TypeVar

from ...errors import OutputError

_T = TypeVar("_T")
Wait = Generator[None, None, _T]  # returns a T; waits for text on the way
Put = Callable[[str], object]

MAX_CALL = 1 << 18  # characters of one call: reading so many takes a fraction of a second at worst
MAX_SPACE = 4096  # characters of white space that are held back
_SPACE = re.compile(r"\s*")


def discard(_: str) -> None:
    """Takes text and forgets it."""


class Tags:
    """Fixed strings to look for; none may be the beginning of another."""

    def __init__(self, *tags: str):
        self.tags = tuple(dict.fromkeys(tag for tag in tags if tag))
        # Alternatives of fixed text that exclude each other: nothing to go back for.
        self.pattern = re.compile("|".join(map(re.escape, self.tags)) or r"(?!)")
        self._beginnings = frozenset(tag[:n] for tag in self.tags for n in range(1, len(tag)))
        self.longest = max(map(len, self.tags), default=0)
        assert not self._beginnings & set(self.tags), "a tag begins with another"

    def __contains__(self, tag: str) -> bool:
        return tag in self.tags

    def n_held(self, text: str, at: int) -> int:
        """Length of the longest end of ``text[at:]`` that may become a tag."""
        longest = min(self.longest - 1, len(text) - at)
        return next((n for n in range(longest, 0, -1) if text[len(text) - n :] in self._beginnings), 0)

    def may_begin(self, text: str) -> bool:
        """Whether ``text`` may become a tag."""
        return text in self._beginnings or (not text and bool(self.tags))


class Reader:
    """The text of one stream, from where it was read to. ``n_scanned`` counts the characters looked at."""

    def __init__(self) -> None:
        self._text, self._at = "", 0
        self.ended = False
        self.n_scanned = 0

    def feed(self, text: str) -> None:
        self._text, self._at = self._text[self._at :] + text, 0

    def end(self) -> None:
        self.ended = True

    def more(self) -> Wait[bool]:
        """Waits for more text; false when there will be none."""
        if not self.ended:
            yield
        return not self.ended

    def until(self, tags: Tags, put: Put) -> Wait[str]:
        """Hands on what comes before the first of ``tags`` and returns the tag; "" at the end of the stream.

        What may be the beginning of a tag is held back; at the end of the stream it is left to ``rest``.
        """
        while True:
            found = tags.pattern.search(self._text, self._at)
            stop = found.start() if found else len(self._text) - tags.n_held(self._text, self._at)
            self._pass(stop, put)
            if found:
                self._pass(found.end(), discard)
                return found.group()
            if not (yield from self.more()):
                return ""

    def take_until(self, tags: Tags, limit: int = MAX_CALL) -> Wait[tuple[str, str]]:
        """The text before the first of ``tags``, and the tag; "" and all that was left at the end of the stream.

        Raises OutputError for a text longer than ``limit``.
        """
        held = Held(limit)
        tag = yield from self.until(tags, held)
        if not tag:
            held(self.rest())
        return held.text(), tag

    def starts_with(self, tags: Tags) -> Wait[str]:
        """Which of ``tags`` comes next; it is read. "" if none does."""
        while True:
            self.n_scanned += tags.longest
            if found := tags.pattern.match(self._text, self._at):
                self._at = found.end()
                return found.group()
            start = self._text[self._at : self._at + tags.longest]
            if not tags.may_begin(start) or not (yield from self.more()):
                return ""

    def skip_space(self, limit: int | None = None) -> Wait[str]:
        """Reads white space. With ``limit``, returns it, and reads no more than that."""
        kept: list[str] = []
        while True:
            stop = len(self._text) if limit is None else min(len(self._text), self._at + limit)
            found = _SPACE.match(self._text, self._at, stop)
            assert found
            if limit is not None:
                kept.append(found.group())
                limit -= len(found.group())
            self._pass(found.end(), discard)
            if self._at < len(self._text) or limit == 0 or not (yield from self.more()):
                return "".join(kept)

    def next_char(self) -> Wait[str]:
        """The next character, which stays unread; "" at the end of the stream."""
        while self._at == len(self._text):
            if not (yield from self.more()):
                return ""
        return self._text[self._at]

    def balanced(self, quotes: str = '"', depth: int = 0) -> Wait[tuple[str, bool]]:
        """From an opening bracket through the one that closes it, and whether that is there.

        ``depth`` brackets are open already. Strings between ``quotes`` count as one piece. Raises OutputError for
        a text longer than a call may be.
        """
        brackets, held = Brackets(quotes, depth), Held()
        while True:
            end = brackets.end(self._text, self._at)
            self._pass(end if end >= 0 else len(self._text), held)
            if end >= 0 or not (yield from self.more()):
                return held.text(), end >= 0

    def rest(self) -> str:
        """What is left unread."""
        text, self._text, self._at = self._text[self._at :], "", 0
        return text

    def unread(self, tag: str) -> None:
        """Takes a tag back that was just read."""
        self._at -= len(tag)

    def _pass(self, stop: int, put: Put) -> None:
        self.n_scanned += stop - self._at
        if stop > self._at:
            put(self._text[self._at : stop])
        self._at = stop


class Held:
    """Text that is kept in one piece. Raises OutputError when it grows over ``limit`` characters."""

    def __init__(self, limit: int = MAX_CALL) -> None:
        self._pieces: list[str] = []
        self._room = limit
        self._limit = limit

    def __call__(self, text: str) -> None:
        self._room -= len(text)
        if self._room < 0:
            raise OutputError(f"the model wrote a tool call or header of more than {self._limit} characters")
        self._pieces.append(text)

    def text(self) -> str:
        return "".join(self._pieces)


class Trimmed:
    """Hands text on, but holds white space at its end back until other text follows."""

    def __init__(self, put: Put) -> None:
        self._put = put
        self.drop()

    def __call__(self, text: str) -> None:
        kept = text.rstrip()
        if kept:
            self._release()
            self._put(kept)
        self._hold(text[len(kept) :])

    def drop(self) -> None:
        """Forgets the white space that is held back."""
        self._held: list[str] = []
        self._n_held = 0

    def _hold(self, space: str) -> None:
        while self._n_held + len(space) >= MAX_SPACE:
            cut = MAX_SPACE - self._n_held
            self._held.append(space[:cut])
            self._release()
            space = space[cut:]
        if space:
            self._held.append(space)
            self._n_held += len(space)

    def _release(self) -> None:
        if self._held:
            self._put("".join(self._held))
        self.drop()


class Brackets:
    """Finds where a bracketed value ends; each piece of it is looked at once."""

    _POINTS = re.compile(r"""\\.|["'{}\[\]()\\]""", re.DOTALL)

    def __init__(self, quotes: str = '"', depth: int = 0) -> None:
        self._quotes = quotes
        self._depth = depth
        self._quote = ""
        self._escaped = False  # the last piece ended with a backslash

    def end(self, text: str, at: int) -> int:
        """Where the value ends that goes on with ``text[at:]``; -1 if further on."""
        if self._escaped and at < len(text):
            self._escaped, at = False, at + 1
        for point in self._POINTS.finditer(text, at):
            mark = point.group()
            if mark == "\\":
                self._escaped = True
            elif self._quote:
                self._quote = "" if mark == self._quote else self._quote
            elif mark in self._quotes:
                self._quote = mark
            elif mark in "{[(":
                self._depth += 1
            elif mark in "}])":
                self._depth -= 1
                if self._depth <= 0:
                    return point.end()
        return -1
