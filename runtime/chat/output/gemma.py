"""The calls of Gemma 4 and FunctionGemma: ``call:NAME{key:value, ...}`` with bare keys and marked strings."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from .base import Call, Tools

_CALL = re.compile(r"\s*call:\s*([^{\s]+)\s*")
_KEY = re.compile(r"\s*\"?([^:\"{}\[\],]+?)\"?\s*:\s*")
_BARE = re.compile(r"[^,{}\[\]]*")
_SPACE = re.compile(r"\s*,?\s*")
MAX_DEPTH = 64


def gemma_calls(quote_open: str, quote_close: str) -> Callable[[str, Tools], list[Call]]:
    """A reader for strings between these marks. Brackets that are missing at the end are forgiven."""

    def read(body: str, _: Tools) -> list[Call]:
        found = _CALL.match(body)
        if not found or body[found.end() : found.end() + 1] != "{":
            raise ValueError("no call:NAME{...}")
        value, _end = _Reader(body, quote_open, quote_close).value(found.end(), 0)
        return [Call(found[1], value)]

    return read


class _Reader:
    def __init__(self, text: str, quote_open: str, quote_close: str):
        self.text, self.open, self.close = text, quote_open, quote_close

    def value(self, at: int, depth: int) -> tuple[Any, int]:
        """(the value that begins at ``at``, the place behind it)"""
        if depth > MAX_DEPTH:
            raise ValueError("nested too deeply")
        if self.text.startswith(self.open, at):
            start = at + len(self.open)
            end = self.text.find(self.close, start)
            return (self.text[start:], len(self.text)) if end < 0 else (self.text[start:end], end + len(self.close))
        if self.text[at : at + 1] == "{":
            return self._object(at + 1, depth)
        if self.text[at : at + 1] == "[":
            return self._list(at + 1, depth)
        found = _BARE.match(self.text, at)
        assert found is not None
        return _scalar(found[0].strip()), found.end()

    def _object(self, at: int, depth: int) -> tuple[dict[str, Any], int]:
        items: dict[str, Any] = {}
        while True:
            at = self._skip(at)
            if at >= len(self.text) or self.text[at] == "}":
                return items, at + 1
            key = _KEY.match(self.text, at)
            if not key:
                raise ValueError("no key")
            items[key[1].strip()], at = self.value(key.end(), depth + 1)

    def _list(self, at: int, depth: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        while True:
            at = self._skip(at)
            if at >= len(self.text) or self.text[at] == "]":
                return items, at + 1
            before = at
            item, at = self.value(at, depth + 1)
            if at == before:
                raise ValueError("no value")
            items.append(item)

    def _skip(self, at: int) -> int:
        found = _SPACE.match(self.text, at)
        assert found is not None
        return found.end()


def _scalar(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
