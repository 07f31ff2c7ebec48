"""Finds the names of tools in text, of however many tools."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

MAX_NAME = 256  # longer names are not looked for: the time at each place of a text is bounded
_END = ""  # no character, so no key of a branch


class Names:
    """A tree of characters: one branch is followed at each place of a text, whatever the number of names."""

    def __init__(self, names: Iterable[str]) -> None:
        self._tree: dict[str, Any] = {}
        self.longest = 0
        for name in names:
            if 0 < len(name) <= MAX_NAME:
                self.longest = max(self.longest, len(name))
                node = self._tree
                for char in name:
                    node = node.setdefault(char, {})
                node[_END] = name
        first = "".join(map(re.escape, self._tree))
        self._starts = re.compile(f"[{first}]" if first else "(?!)")

    def first(self, text: str) -> str:
        """The name that occurs first in ``text``, the longest of those at the same place; "" if none does."""
        return next(filter(None, (self._at(text, start.start()) for start in self._starts.finditer(text))), "")

    def _at(self, text: str, at: int) -> str:
        node, name = self._tree, ""
        while node and at < len(text):
            node = node.get(text[at], {})
            name, at = node.get(_END, name), at + 1
        return name
