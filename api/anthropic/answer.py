"""Native lines as a message of blocks, or as the events of a stream."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

from ..openai.wire import json_text

__all__ = ["MessageEvents", "estimate", "message"]

Event = dict[str, Any]
_REASONS = {"stop": "end_turn", "length": "max_tokens"}
_CHARS_PER_TOKEN = 4


def message(model: str, whole: dict[str, Any], *, one_call: bool = False) -> dict[str, Any]:
    """The whole answer; ``whole`` is the native one. ``one_call`` keeps only the first call."""
    native = whole["message"]
    blocks: list[dict[str, Any]] = []
    if thinking := native.get("thinking"):
        blocks.append({"type": "thinking", "thinking": thinking})
    if native["content"]:
        blocks.append({"type": "text", "text": native["content"]})
    calls = native.get("tool_calls", [])[: 1 if one_call else None]
    blocks += [{**_tool_use(call), "input": call["function"]["arguments"]} for call in calls]
    return {
        **_head(model),
        "content": blocks,
        "stop_reason": _stop_reason(whole, called=bool(calls)),
        "stop_sequence": None,
        "usage": _usage(whole),
    }


def estimate(chars: int) -> int:
    """Tokens of so many characters, roughly; what a stream begins with, before anything is counted."""
    return max(1, chars // _CHARS_PER_TOKEN)


class MessageEvents:
    """Makes the events of one stream: each block opens, grows and closes before the next one opens.

    ``one_call`` keeps only the first call.
    """

    def __init__(self, model: str, prompt_chars: int, *, one_call: bool = False):
        self._model, self._prompt_chars, self._one_call = model, prompt_chars, one_call
        self._open = ""  # the kind of the block that is open
        self._index = -1
        self._had_text = False
        self._called: set[str] = set()

    def start(self) -> Iterator[Event]:
        usage = {"input_tokens": estimate(self._prompt_chars), "output_tokens": 0}
        yield {"type": "message_start", "message": {**_head(self._model), "content": [], "usage": usage}}

    def of(self, line: dict[str, Any]) -> Iterator[Event]:
        """The events for a native line. Thinking that comes after text is dropped."""
        native = line["message"]
        thinking, content = native.get("thinking"), native["content"]
        if thinking and not self._had_text:
            yield from self._grow("thinking", {"type": "thinking_delta", "thinking": thinking})
        if content:
            self._had_text = True
            yield from self._grow("text", {"type": "text_delta", "text": content})
        for call in native.get("tool_calls", []):
            yield from self._call(call)
        if line.get("done"):
            yield from self._close()
            reason = _stop_reason(line, called=bool(self._called))
            delta = {"stop_reason": reason, "stop_sequence": None}
            yield {"type": "message_delta", "delta": delta, "usage": _usage(line)}
            yield {"type": "message_stop"}

    def _grow(self, kind: str, delta: dict[str, Any]) -> Iterator[Event]:
        if self._open != kind:
            yield from self._close()
            yield self._opened(kind, {"type": kind, kind: ""})
        yield {"type": "content_block_delta", "index": self._index, "delta": delta}

    def _call(self, call: dict[str, Any]) -> Iterator[Event]:
        if call.get("id") in self._called or (self._one_call and self._called):
            return
        self._called.add(call.get("id", ""))
        yield from self._close()
        yield self._opened("tool_use", {**_tool_use(call), "input": {}})
        text = json_text(call["function"]["arguments"])
        yield {
            "type": "content_block_delta",
            "index": self._index,
            "delta": {"type": "input_json_delta", "partial_json": text},
        }
        yield from self._close()

    def _opened(self, kind: str, block: dict[str, Any]) -> Event:
        self._open, self._index = kind, self._index + 1
        return {"type": "content_block_start", "index": self._index, "content_block": block}

    def _close(self) -> Iterator[Event]:
        if self._open:
            self._open = ""
            yield {"type": "content_block_stop", "index": self._index}


def _head(model: str) -> dict[str, Any]:
    return {"id": f"msg_{secrets.token_hex(12)}", "type": "message", "role": "assistant", "model": model}


def _tool_use(call: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.get("id", ""), "name": call["function"]["name"]}


def _stop_reason(line: dict[str, Any], *, called: bool) -> str:
    return "tool_use" if called else _REASONS.get(line.get("done_reason", ""), "stop_sequence")


def _usage(line: dict[str, Any]) -> dict[str, Any]:
    usage = {"input_tokens": line.get("prompt_eval_count", 0), "output_tokens": line.get("eval_count", 0)}
    cached = line.get("prompt_cached_count", 0)
    return {**usage, "cache_read_input_tokens": cached} if cached else usage
