"""Finds tokens that are spelled out in a text: control tokens and user-defined ones. Knows no kind of token."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

__all__ = ["SpecialTokens"]

# A longer text is never searched for, so that no vocabulary makes searching slow.
_MAX_CHARS = 256


class SpecialTokens:
    """Splits texts at the tokens in ``ids`` (text -> id), leftmost first, the longest where several begin.

    ``strips_right`` are ids that swallow the white space behind them. The work for each character of a text is
    bounded by the number of different lengths of tokens that begin with the same two characters.
    """

    def __init__(self, ids: Mapping[str, int], strips_right: Collection[int] = ()):
        self._ids = {text: token_id for text, token_id in ids.items() if len(text) <= _MAX_CHARS}
        self._strips_right = strips_right
        lengths: dict[str, set[int]] = {}
        for text in self._ids:
            lengths.setdefault(text[:2], set()).add(len(text))
        # A token of one character is the last resort where a longer one only seemed to begin.
        for head, found in lengths.items():
            if head[0] in self._ids:
                found.add(1)
        self._lengths = {head: sorted(found, reverse=True) for head, found in lengths.items()}
        self._head = _heads_pattern(lengths)

    def split(self, text: str) -> Iterator[str | int]:
        """The parts of ``text`` in order: stretches of ordinary text, which are not empty, and token ids."""
        done = 0
        for begin, end, token_id in self._matches(text):
            if begin > done:
                yield text[done:begin]
            yield token_id
            done = end
        if done < len(text):
            yield text[done:]

    def _matches(self, text: str) -> Iterator[tuple[int, int, int]]:
        at = 0
        while self._head is not None and (head := self._head.search(text, at)):
            begin = head.start()
            at = begin + 1
            for length in self._lengths[head[0]]:
                token_id = self._ids.get(text[begin : begin + length])
                if token_id is not None:
                    at = begin + length
                    if token_id in self._strips_right:
                        at = _after_space(text, at)
                    yield begin, at, token_id
                    break


def _heads_pattern(heads: Collection[str]) -> re.Pattern[str] | None:
    """Finds the first of ``heads``, of one or two characters each, the longer where both fit."""
    seconds: dict[str, set[str]] = {}
    for head in heads:
        seconds.setdefault(head[0], set()).add(head[1:])
    parts = []
    for first, rest in sorted(seconds.items()):
        chars = "".join(map(re.escape, sorted(rest)))
        parts.append(re.escape(first) + (f"[{chars}]" if chars else "") + ("?" if chars and "" in rest else ""))
    return re.compile("|".join(parts)) if parts else None


def _after_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\n\v\f\r":
        at += 1
    return at
