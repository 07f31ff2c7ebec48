"""Looking for tags and JSON objects in text that comes in pieces. All of it takes time in proportion to the text."""

from __future__ import annotations

from collections.abc import Iterable


def partial_tag(text: str, tags: Iterable[str]) -> int:
    """How many characters at the end of ``text`` may be the beginning of one of ``tags``."""
    longest = 0
    for tag in tags:
        for n in range(min(len(tag) - 1, len(text)), longest, -1):
            if text.endswith(tag[:n]):
                longest = n
                break
    return longest


def first_tag(text: str, tags: Iterable[str]) -> tuple[int, str] | None:
    """Where the first of ``tags`` is, and which; the longer of two at the same place."""
    found = [(at, -len(tag), tag) for tag in tags if (at := text.find(tag)) >= 0]
    if not found:
        return None
    at, _, tag = min(found)
    return at, tag


class TextUntil:
    """Text up to a closing tag, which may come in pieces. Each character is looked at once."""

    def __init__(self, tag: str):
        self.tag, self.text = tag, ""
        self._looked = 0

    def feed(self, text: str) -> tuple[str, str] | None:
        """(the text before the tag, what comes behind it), once the tag is there."""
        self.text += text
        at = self.text.find(self.tag, self._looked)
        if at < 0:
            self._looked = max(0, len(self.text) - len(self.tag) + 1)
            return None
        return self.text[:at], self.text[at + len(self.tag) :]


class Brackets:
    """How deep brackets nest, outside of JSON strings. ``feed`` character by character."""

    def __init__(self) -> None:
        self.depth = 0
        self._in_string = self._escaped = False

    def feed(self, char: str) -> None:
        if self._in_string:
            if self._escaped:
                self._escaped = False
            elif char == "\\":
                self._escaped = True
            elif char == '"':
                self._in_string = False
        elif char == '"':
            self._in_string = self.depth > 0
        elif char in "{[":
            self.depth += 1
        elif char in "}]":
            self.depth = max(0, self.depth - 1)


def object_end(text: str, start: int) -> int:
    """The place behind the bracket that closes the one at ``start``; -1 where it is not there yet."""
    brackets = Brackets()
    for i in range(start, len(text)):
        brackets.feed(text[i])
        if not brackets.depth:
            return i + 1
    return -1
