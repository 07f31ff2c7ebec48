"""Calls of a model whose template shows only with which tag they begin: a tool's name, then a JSON object, somehow.

The rules are Ollama's (tools/tools.go): names that were not offered are no calls, nor are calls without any object.
"""

from __future__ import annotations

import json
from typing import Any

from .base import Call, CallFormat, OutputParser, Parsed, Tools
from .scan import Brackets, object_end, partial_tag

_BRACKETS = ("{", "[")


class GenericCalls(OutputParser):
    """``tag`` may be a bracket, which counts at the beginning only: text that has one later is content."""

    def __init__(self, tag: str, tools: Tools):
        self._tag = tag or "{"
        self._names = [name for tool in tools if (name := (tool.get("function") or {}).get("name"))]
        self._buffer, self._state = "", "looking"  # then "calls", then "content"
        self._n_calls = 0
        self._brackets = Brackets()
        self._searched = 0  # no object ends before this place of the buffer
        self._is_bracket = self._tag in _BRACKETS
        if not self._is_bracket:
            self.call_format = CallFormat(self._tag + "\n" if self._tag.startswith("<") else self._tag, "")

    def feed(self, text: str) -> Parsed:
        if self._state == "content":
            return Parsed(content=text)
        if self._state == "looking":
            self._buffer += text
            parsed, text = self._look()
            return parsed if self._state != "calls" else parsed + self._more(text)
        return self._more(text)

    def finish(self) -> Parsed:
        text, self._buffer = self._buffer, ""
        is_text = self._state == "looking" or (not self._n_calls and self._is_bracket)
        return Parsed(content=text) if is_text else Parsed()

    def _look(self) -> tuple[Parsed, str]:
        """(text up to the tag, what may be calls). A bracket that comes after text ends the search."""
        text, self._buffer = self._buffer, ""
        at = text.find(self._tag)
        if self._is_bracket:
            if text.lstrip().startswith(self._tag):
                self._state = "calls"
                return Parsed(), text
            if text.strip():
                self._state = "content"
                return Parsed(content=text), ""
            self._buffer = text
            return Parsed(), ""
        if at < 0:
            keep = len(text) - partial_tag(text, [self._tag])
            text, self._buffer = text[:keep], text[keep:]
            return Parsed(content=text), ""
        self._state = "calls"
        return Parsed(content=text[:at]), text[at + len(self._tag) :]

    def _more(self, text: str) -> Parsed:
        """Calls that ``text`` completes. Behind balanced brackets, what follows is content."""
        end = self._balanced(text) if self._is_bracket else None
        self._buffer += text if end is None else text[:end]
        calls: list[Call] = []
        while call := self._next_call():
            calls.append(call)
        self._n_calls += len(calls)
        if end is None:
            return Parsed(calls=tuple(calls))
        self._state, rest = "content", text[end:]
        whole, self._buffer = self._buffer, ""
        return Parsed(content=rest if self._n_calls else whole + rest, calls=tuple(calls))

    def _balanced(self, text: str) -> int | None:
        """Behind which character of ``text`` all brackets are closed."""
        for i, char in enumerate(text):
            self._brackets.feed(char)
            if not self._brackets.depth and not char.isspace():
                return i + 1
        return None

    def _next_call(self) -> Call | None:
        found = self._name()
        if found is None:
            return None
        at, name = found
        arguments, end = self._arguments(name)
        if arguments is None:
            return None
        self._buffer, self._searched = self._buffer[max(end, at + len(name)) :], 0
        return Call(name, arguments)

    def _name(self) -> tuple[int, str] | None:
        """The first of the tools' names in the buffer, the longest of those at one place."""
        if partial_tag(self._buffer, self._names):
            return None
        found = [(at, -len(name), name) for name in self._names if (at := self._buffer.find(name)) >= 0]
        return (min(found)[0], min(found)[2]) if found else None

    def _arguments(self, name: str) -> tuple[dict[str, Any] | None, int]:
        """Of the first object in the buffer that is JSON, and where it ends."""
        at = self._buffer.find("{")
        while at >= 0:
            end = object_end(self._buffer, at) if self._may_end(at) else -1
            if end < 0:
                return None, 0
            try:
                value = json.loads(self._buffer[at:end])
            except (ValueError, RecursionError):
                at = self._buffer.find("{", at + 1)
                continue
            return _arguments_in(value, name), end
        return None, 0

    def _may_end(self, at: int) -> bool:
        """Whether a closing bracket has come since the last look; else there is nothing to look for."""
        news = "}" in self._buffer[max(self._searched, at) :]
        self._searched = len(self._buffer)
        return news


def _arguments_in(value: dict[str, Any], name: str) -> dict[str, Any]:
    """``arguments`` or ``parameters`` beside a name, the value under the tool's name, or else the whole object."""
    return _found(value, name, 0) or value if not _is_empty_call(value) else {}


def _is_empty_call(value: dict[str, Any]) -> bool:
    return "name" in value and (value.get("arguments") == {} or value.get("parameters") == {})


def _found(value: Any, name: str, depth: int) -> dict[str, Any] | None:
    if depth > 16:
        return None
    if isinstance(value, dict):
        if "name" in value:
            for key in ("arguments", "parameters"):
                if (arguments := _as_object(value.get(key))) is not None:
                    return arguments
        if (arguments := _as_object(value.get(name))) is not None:
            return arguments
    nested = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in nested:
        if isinstance(item, dict | list) and (arguments := _found(item, name, depth + 1)) is not None:
            return arguments
    return None


def _as_object(value: Any) -> dict[str, Any] | None:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) else None
