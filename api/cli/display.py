"""How an answer looks: thinking between its marks, then the text, then tool calls. Knows no server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

from . import terminal

_OPEN, _CLOSE = "Thinking...\n", "...done thinking.\n\n"


@dataclass(frozen=True)
class Part:
    """A piece of an answer; each of the three may be empty. ``tool_calls`` are objects as the API sends them."""

    text: str = ""
    thinking: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)


class Display:
    """Puts the parts of one answer on ``stream``; what is not the answer's text is grey on a terminal."""

    def __init__(self, stream: TextIO, *, wrap: bool, hides_thinking: bool = False) -> None:
        self._stream = stream
        self._is_terminal = terminal.is_terminal(stream)
        self._hides_thinking = hides_thinking
        self._writer = terminal.answer_writer(stream, wrap=wrap)
        self._is_thinking = False
        self._last = "\n"
        self._after_call = False
        self.has_shown = False

    def shows(self, part: Part) -> bool:
        """Whether anything of ``part`` can be seen."""
        return bool(part.text or part.tool_calls or (part.thinking and not self._hides_thinking))

    def push(self, part: Part) -> None:
        self.has_shown = self.has_shown or self.shows(part)
        if part.thinking and not self._hides_thinking:
            self._open_thinking()
            self._push(part.thinking)
        if part.text or part.tool_calls:
            self._close_thinking()
        if part.text and self._after_call:
            self._fresh_line()
            self._after_call = False
        self._push(part.text)
        for call in part.tool_calls:
            self._fresh_line()
            self._grey(f"Tool call: {call_text(call)}")
            self._after_call = True

    def finish(self) -> None:
        """Ends the answer, also one that was stopped: writes what is held back, and the colour is the usual one."""
        self._writer.finish()
        if self._is_thinking:
            self._is_thinking = False
            self._style(terminal.RESET)

    def _open_thinking(self) -> None:
        if not self._is_thinking:
            self._fresh_line()
            self._is_thinking = True
            self._style(terminal.GREY)
            self._push(_OPEN)

    def _close_thinking(self) -> None:
        if self._is_thinking:
            self._fresh_line()
            self._push(_CLOSE)
            self.finish()

    def _fresh_line(self) -> None:
        if self._last != "\n":
            self._push("\n")

    def _grey(self, text: str) -> None:
        self._style(terminal.GREY)
        self._push(text)
        self._writer.finish()
        self._style(terminal.RESET)

    def _push(self, text: str) -> None:
        if text:
            self._writer.push(text)
            self._last = text[-1]

    def _style(self, code: str) -> None:
        if self._is_terminal:
            self._stream.write(code)
            self._stream.flush()


def call_text(call: Mapping[str, Any]) -> str:
    """``get_weather(city="Paris", days=2)``"""
    function = call.get("function") or {}
    arguments = function.get("arguments") or {}
    named = (f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in arguments.items())
    return f"{function.get('name', '')}({', '.join(named)})"
