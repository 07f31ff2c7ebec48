"""Harmony, the format of gpt-oss: messages with a header that says on which channel, and to whom, they are.

``<|start|>`` header ``<|message|>`` body ``<|end|>``, repeated; the prompt ends with ``<|start|>assistant``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from ...errors import OutputError, cut
from .base import Call, OutputParser, Parsed
from .bodies import json_object
from .scan import first_tag, partial_tag

_START, _MESSAGE, _CHANNEL, _CONSTRAIN = "<|start|>", "<|message|>", "<|channel|>", "<|constrain|>"
_ENDS = ("<|end|>", "<|call|>", "<|return|>")
_TO = re.compile(r"(?:^|\s)to=(\S+)")
_ALREADY_VALID = ("browser.open", "browser.search", "browser.find", "python")

Begun = Literal["header", "final", "analysis"]


class HarmonyParser(OutputParser):
    """``begun``: where the prompt ended. ``names``: the tools' own names by those that the model was told."""

    def __init__(self, *, begun: Begun = "header", names: Mapping[str, str] | None = None):
        self._names = names or {}
        self._held, self._raw = "", ""
        self._state = "header" if begun == "header" else "body"  # or "between"
        self._channel: str = "" if begun == "header" else begun
        self._recipient = ""

    @property
    def in_thinking(self) -> bool:
        return self._state != "body" or self._channel == "analysis"

    def feed(self, text: str) -> Parsed:
        self._held += text
        parsed, before = Parsed(), ("", "")
        while self._held and (self._held, self._state) != before:
            before = (self._held, self._state)
            parsed += {"header": self._header, "body": self._body, "between": self._between}[self._state]()
        return parsed

    def finish(self) -> Parsed:
        """The call, where the turn ended in one. Raises OutputError where it is no JSON."""
        rest, self._held = (self._put(self._held) if self._state == "body" else Parsed()), ""
        if not self._recipient or not self._raw.strip():
            return rest
        name = self._recipient.removeprefix("functions.")
        try:
            call = Call(self._names.get(name, name), json_object(self._raw))
        except (ValueError, RecursionError) as error:
            raise OutputError(f"error parsing tool call: raw={cut(self._raw)}, err={error}") from None
        return rest + Parsed(calls=(call,))

    def _header(self) -> Parsed:
        header, tag, rest = self._held.partition(_MESSAGE)
        if tag:
            self._held, self._state = rest, "body"
            self._raw = ""
            self._channel, self._recipient = _read_header(header)
        return Parsed()

    def _body(self) -> Parsed:
        found = first_tag(self._held, _ENDS)
        if found is None:
            cut_at = len(self._held) - partial_tag(self._held, _ENDS)
            text, self._held = self._held[:cut_at], self._held[cut_at:]
            return self._put(text)
        at, tag = found
        text, self._held = self._held[:at], self._held[at + len(tag) :]
        self._state = "between"
        return self._put(text)

    def _between(self) -> Parsed:
        """Nothing of what stands between two messages is text."""
        _, tag, rest = self._held.partition(_START)
        keep = 0 if tag else partial_tag(self._held, [_START])
        self._held = rest if tag else self._held[len(self._held) - keep :]
        self._state = "header" if tag else self._state
        return Parsed()

    def _put(self, text: str) -> Parsed:
        if self._recipient and self._channel != "final":
            self._raw += text
            return Parsed()
        return Parsed(thinking=text) if self._channel == "analysis" else Parsed(content=text)


def _read_header(header: str) -> tuple[str, str]:
    """(channel, recipient). The recipient may stand before the channel or behind it."""
    role, _, behind = header.partition(_CHANNEL)
    behind = behind.partition(_CONSTRAIN)[0]
    found = _TO.search(role.partition(_CONSTRAIN)[0]) or _TO.search(behind)
    channel = behind.split()[0] if behind.split() else "final"
    return channel, found[1] if found else ""


def tool_names(names: Iterable[str]) -> dict[str, str]:
    """The names that the model is told -> the tools' own: only letters, digits, ``_`` and ``$``, and each once."""
    told: dict[str, str] = {}
    for name in names:
        valid = name if name in _ALREADY_VALID else _valid(name)
        unique, n = valid, 2
        while unique in told:
            unique, n = f"{valid}_{n}", n + 1
        told[unique] = name
    return told


def _valid(name: str) -> str:
    text = re.sub(r"[^\w$]", "", re.sub(r"[ \-.]", "_", name), flags=re.ASCII)
    if not text:
        return "unnamed"
    return f"_{text}" if text[0].isdigit() else text


def renamed(tools: Iterable[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """(``tools`` with names that the model can write, its names -> their own)"""
    listed = list(tools)
    told = tool_names((tool.get("function") or {}).get("name", "") for tool in listed)
    shown = [
        {**tool, "function": {**(tool.get("function") or {}), "name": name}}
        for tool, name in zip(listed, told, strict=True)
    ]
    return shown, told
