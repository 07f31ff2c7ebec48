"""Ministral's calls: ``[TOOL_CALLS]name[ARGS]{...}``, repeated, with no closing tag. Thinking: [THINK] to [/THINK]."""

from __future__ import annotations

from ...errors import OutputError, cut
from .base import Call, OutputParser, Parsed, Tools
from .bodies import json_object
from .scan import Brackets, first_tag, partial_tag

_CALL, _ARGS, _OPEN, _CLOSE = "[TOOL_CALLS]", "[ARGS]", "[THINK]", "[/THINK]"


class MinistralParser(OutputParser):
    """Raises OutputError for tools that are not there, and for arguments that are no JSON."""

    def __init__(self, tools: Tools):
        self._names = {(tool.get("function") or {}).get("name") for tool in tools}
        self._held, self._state = "", "content"  # or "thinking", "name", "arguments"
        self._name, self._json, self._brackets = "", "", Brackets()

    @property
    def in_thinking(self) -> bool:
        return self._state == "thinking"

    def feed(self, text: str) -> Parsed:
        self._held += text
        parsed, before = Parsed(), ("", "")
        while self._held and (self._held, self._state) != before:
            before = (self._held, self._state)
            parsed += getattr(self, f"_in_{self._state}")()
        return parsed

    def finish(self) -> Parsed:
        if self._state in ("name", "arguments") and (self._held.strip() or self._json.strip() or self._name):
            raise OutputError(f"tool call is not whole: {cut(self._name + self._held + self._json)}")
        text, self._held = self._held, ""
        return Parsed(thinking=text) if self._state == "thinking" else Parsed(content=text)

    def _in_content(self) -> Parsed:
        return Parsed(content=self._up_to({_CALL: "name", _OPEN: "thinking"}))

    def _in_thinking(self) -> Parsed:
        return Parsed(thinking=self._up_to({_CLOSE: "content"}))

    def _up_to(self, states: dict[str, str]) -> str:
        found = first_tag(self._held, states)
        if found is None:
            cut_at = len(self._held) - partial_tag(self._held, states)
            text, self._held = self._held[:cut_at], self._held[cut_at:]
            return text
        at, tag = found
        text, self._held = self._held[:at], self._held[at + len(tag) :]
        self._state = states[tag]
        return text

    def _in_name(self) -> Parsed:
        name, tag, rest = self._held.partition(_ARGS)
        if tag:
            self._name, self._held, self._state = name.strip(), rest, "arguments"
            self._json, self._brackets = "", Brackets()
            if self._name not in self._names:
                raise OutputError(f"tool {cut(self._name)} not found")
        return Parsed()

    def _in_arguments(self) -> Parsed:
        for i, char in enumerate(self._held):
            self._brackets.feed(char)
            if not self._brackets.depth and not char.isspace():
                self._json += self._held[: i + 1]
                self._held, self._state = self._held[i + 1 :].lstrip(), "content"
                return Parsed(calls=(self._call(),))
        self._json, self._held = self._json + self._held, ""
        return Parsed()

    def _call(self) -> Call:
        try:
            call = Call(self._name, json_object(self._json))
        except (ValueError, RecursionError) as error:
            raise OutputError(f"error parsing tool call: raw={cut(self._json)}, err={error}") from None
        self._name = self._json = ""
        return call
