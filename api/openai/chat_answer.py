"""From native chat lines to a chat completion, or to the frames of a streamed one. Knows no HTTP and no clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..answer import Line
from .wire import Head, finish_reason, json_text, usage

__all__ = ["ChatStream", "chat_completion"]

ROLE = "assistant"


def chat_completion(head: Head, lines: Sequence[Line], *, one_call: bool = False) -> dict[str, Any]:
    """The whole answer; ``lines`` has one line for each choice, all texts joined. ``one_call``: others are left out."""
    choices = [_whole_choice(index, line, one_call) for index, line in enumerate(lines)]
    debug = {key: lines[0][key] for key in ("_debug_info",) if key in lines[0]}
    return head.with_fields(choices=choices, usage=usage(lines, len(lines)), **debug)


def _whole_choice(index: int, line: Line, one_call: bool) -> dict[str, Any]:
    given = line["message"]
    calls = [_call(call) for call in given.get("tool_calls", [])][: 1 if one_call else None]
    message = {"role": ROLE, "content": given["content"]}
    message |= {"reasoning": given["thinking"]} if given.get("thinking") else {}
    message |= {"tool_calls": calls} if calls else {}
    reason = finish_reason(line, has_calls=bool(calls))
    return {"index": index, "message": message, "finish_reason": reason, **_logprobs(line)}


class ChatStream:
    """The frames of ``n`` choices of one prompt, whose lines come in any order among each other."""

    def __init__(self, head: Head, n: int, *, include_usage: bool = False, one_call: bool = False):
        self._head, self._include_usage = head, include_usage
        self._choices = [_StreamedChoice(index, one_call) for index in range(n)]

    def frames(self, index: int, line: Line) -> Iterator[dict[str, Any]]:
        for entry in self._choices[index].entries(line):
            yield self._head.with_fields(choices=[entry])

    def end(self) -> Iterator[dict[str, Any]]:
        if self._include_usage:
            lines = [choice.last for choice in self._choices]
            yield self._head.with_fields(choices=[], usage=usage(lines, len(lines)))


class _StreamedChoice:
    """``last`` is its last line, when that has come."""

    def __init__(self, index: int, one_call: bool):
        self.last: Line = {}
        self._index, self._one_call = index, one_call
        self._is_open = self._has_calls = False

    def entries(self, line: Line) -> Iterator[dict[str, Any]]:
        """Of one line: its deltas, the role with the first of all; at the end one without, which says why."""
        logprobs = _logprobs(line)
        deltas = self._deltas(line["message"])
        if not deltas and (logprobs or (line["done"] and not self._is_open)):
            deltas = [{"content": ""}]
        for delta in deltas:
            role = {} if self._is_open else {"role": ROLE}
            self._is_open = True
            yield self._entry({**role, **delta}, None, logprobs)
            logprobs = {}
        if line["done"]:
            self.last = line
            yield self._entry({}, finish_reason(line, has_calls=self._has_calls))

    def _deltas(self, message: Line) -> list[dict[str, Any]]:
        """Thinking has its own delta, before the others; it has content, an empty one, where there is no other."""
        thinking, content = message.get("thinking"), message["content"]
        calls = self._kept(message.get("tool_calls", []))
        deltas: list[dict[str, Any]] = []
        if content or calls:
            deltas.append({"content": content, **({"tool_calls": calls} if calls else {})})
        if thinking:
            deltas.insert(0, {"reasoning": thinking} if deltas else {"content": "", "reasoning": thinking})
        return deltas

    def _kept(self, calls: Sequence[Line]) -> list[dict[str, Any]]:
        if self._one_call:
            calls = [] if self._has_calls else calls[:1]
        self._has_calls |= bool(calls)
        return [_call(call) for call in calls]

    def _entry(
        self, delta: dict[str, Any], reason: str | None, logprobs: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        return {"index": self._index, "delta": delta, "finish_reason": reason, **(logprobs or {})}


def _call(call: Line) -> dict[str, Any]:
    """Arguments are JSON as text, whole."""
    function = call["function"]
    shown = {"name": function["name"], "arguments": json_text(function["arguments"])}
    return {"id": call.get("id", ""), "index": function["index"], "type": "function", "function": shown}


def _logprobs(line: Line) -> dict[str, Any]:
    """The key ``logprobs``, where there are some; OpenAI's entries have all keys always."""
    entries = line.get("logprobs")
    return {"logprobs": {"content": [_logprob(entry) for entry in entries]}} if entries else {}


def _logprob(entry: Line) -> dict[str, Any]:
    return {**_token(entry), "top_logprobs": [_token(top) for top in entry.get("top_logprobs", [])]}


def _token(entry: Line) -> dict[str, Any]:
    return {"token": entry["token"], "logprob": entry["logprob"], "bytes": entry.get("bytes")}
