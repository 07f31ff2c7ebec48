"""Keeps text that people send from turning into control tokens.

A template's own scaffolding makes control tokens by spelling them (``<|im_start|>``), so a message that spells
them, too, could forge a turn. Here each such spelling in a message gets a GUARD character inside; the tokenizer
never takes marked text for a control token, and drops the marks. Knows no template and no tokenizer.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

from ..tokenizer.guard import GUARD

KNOWN_ROLES = frozenset({"assistant", "developer", "function", "ipython", "system", "tool", "user"})
# Longer tokens are known by their first characters, which bounds the work for each position of a text. Text that
# only begins like such a token gets a mark, too, and a mark changes nothing else.
_MAX_COMPARED = 64


class TextGuard:
    """Marks for one vocabulary; build it once per model.

    A mark goes after the first character of every occurrence (overlapping ones, too), and after text that ends
    in the beginning of a control token, for a template may print two texts one after the other. GUARD characters
    that are in a text already are dropped. Tokens of a single character cannot be marked and are left out.
    """

    def __init__(self, control_tokens: Collection[str]):
        tokens = {token[:_MAX_COMPARED] for token in control_tokens if len(token) > 1 and GUARD not in token}
        self._tokens = tokens
        self._sorted = sorted(tokens)
        self._longest = max(map(len, tokens), default=0)
        self._lengths: dict[str, set[int]] = {}
        for token in tokens:
            self._lengths.setdefault(token[:2], set()).add(len(token))
        # A character class over the tokens' first characters: no alternatives, so nothing to backtrack.
        self._start = re.compile("[" + re.escape("".join({token[0] for token in tokens})) + "]") if tokens else None

    def text(self, text: str) -> str:
        """``text`` with its marks; the very same object where none is needed. Linear in its length."""
        if GUARD in text:
            text = text.replace(GUARD, "")
        if self._start is None:
            return text
        marks = [at.start() + 1 for at in self._start.finditer(text) if self._is_token(text, at.start())]
        if self._ends_inside_token(text):
            marks.append(len(text))
        if not marks:
            return text
        edges = [0, *marks, len(text)]
        return GUARD.join(text[begin:end] for begin, end in pairwise(edges))

    def tree(self, value: Any) -> Any:
        """``value`` (JSON-shaped) with every string in it marked, keys included; containers are copied."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(key): self.tree(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.tree(item) for item in value]
        return value

    def messages(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Copies of chat messages, marked. The usual roles stay as they are: templates compare them."""
        return [
            {
                key: value if key == "role" and value in KNOWN_ROLES else self.tree(value)
                for key, value in message.items()
            }
            for message in messages
        ]

    def _is_token(self, text: str, at: int) -> bool:
        lengths = self._lengths.get(text[at : at + 2], ())
        return any(text[at : at + length] in self._tokens for length in lengths)

    def _ends_inside_token(self, text: str) -> bool:
        assert self._start is not None
        for at in self._start.finditer(text, max(0, len(text) - self._longest + 1)):
            tail = text[at.start() :]
            i = bisect_left(self._sorted, tail)
            if i < len(self._sorted) and self._sorted[i].startswith(tail) and self._sorted[i] != tail:
                return True
        return False


def guard_messages(messages: Sequence[Mapping[str, Any]], control_tokens: Collection[str]) -> list[dict[str, Any]]:
    """``messages`` with every spelled-out control token in their strings marked. See ``TextGuard``."""
    return TextGuard(control_tokens).messages(messages)
