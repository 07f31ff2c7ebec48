"""Native lines as a response object, or as the events of a stream."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

from .responses_request import ResponsesRequest
from .wire import json_text

__all__ = ["ResponseEvents", "response"]

Item = dict[str, Any]
Event = dict[str, Any]
_MAX_ID = 10**9


def response(body: ResponsesRequest, whole: dict[str, Any]) -> dict[str, Any]:
    """The whole answer; ``whole`` is the native one. Text beside calls is dropped."""
    ids = _Ids()
    native = whole["message"]
    output: list[Item] = []
    if thinking := native.get("thinking"):
        output.append(_reasoning(f"rs_{ids.response}", thinking))
    calls = native.get("tool_calls", [])[: None if body.parallel_tool_calls else 1]
    for i, call in enumerate(calls):
        output.append(_call(f"fc_{ids.response}_{i}", call))
    if not calls:
        output.append(_text_item(ids.message, native["content"]))
    return _object(body, ids, created=int(time.time()), status="completed", output=output, last=whole)


class _Ids:
    def __init__(self) -> None:
        self.response = f"resp_{random.randrange(_MAX_ID)}"
        self.message = f"msg_{random.randrange(_MAX_ID)}"


def _object(
    body: ResponsesRequest, ids: _Ids, *, created: int, status: str, output: list[Item], last: dict[str, Any] | None
) -> dict[str, Any]:
    given = body.reasoning or {}
    reasoning = {key: given[key] for key in ("effort", "summary") if given.get(key)} or None
    return {
        "id": ids.response,
        "object": "response",
        "created_at": created,
        "completed_at": int(time.time()) if status == "completed" else None,
        "status": status,
        "incomplete_details": None,
        "model": body.model,
        "previous_response_id": None,
        "instructions": body.instructions or None,
        "output": output,
        "error": None,
        "tools": body.tools,
        "tool_choice": body.tool_choice,
        "truncation": body.truncation,
        "parallel_tool_calls": body.parallel_tool_calls,
        "text": {"format": body.text.get("format") or {"type": "text"}},
        "top_p": 1.0 if body.top_p is None else body.top_p,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "top_logprobs": 0,
        "temperature": 1.0 if body.temperature is None else body.temperature,
        "reasoning": reasoning,
        "usage": _usage(last) if last is not None else None,
        "max_output_tokens": body.max_output_tokens,
        "max_tool_calls": None,
        "store": False,
        "background": body.background,
        "service_tier": "default",
        "metadata": {},
        "safety_identifier": None,
        "prompt_cache_key": None,
    }


def _usage(last: dict[str, Any]) -> dict[str, Any]:
    read, written = last.get("prompt_eval_count", 0), last.get("eval_count", 0)
    return {
        "input_tokens": read,
        "output_tokens": written,
        "total_tokens": read + written,
        "input_tokens_details": {"cached_tokens": last.get("prompt_cached_count", 0)},
        "output_tokens_details": {"reasoning_tokens": 0},
    }


def _reasoning(item_id: str, text: str) -> Item:
    summary = [{"type": "summary_text", "text": text}]
    return {"id": item_id, "type": "reasoning", "summary": summary, "encrypted_content": text}


def _call(item_id: str, call: dict[str, Any], *, begun: bool = False) -> Item:
    function = call["function"]
    return {
        "id": item_id,
        "type": "function_call",
        "status": "in_progress" if begun else "completed",
        "call_id": call.get("id", ""),
        "name": function["name"],
        "arguments": "" if begun else json_text(function["arguments"]),
    }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _text_item(item_id: str, text: str) -> Item:
    return {
        "id": item_id,
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [_part(text)],
    }


class ResponseEvents:
    """Makes the events of one stream: every item opens, grows and closes before the next one opens."""

    def __init__(self, body: ResponsesRequest):
        self._body, self._ids = body, _Ids()
        self._created, self._number = int(time.time()), 0
        self._output: list[Item] = []
        self._open, self._text = "", ""  # the kind of the item that is open, and what it says so far
        self._n_calls = 0

    def start(self) -> Iterator[Event]:
        begun = _object(self._body, self._ids, created=self._created, status="in_progress", output=[], last=None)
        yield self._event("response.created", response=begun)
        yield self._event("response.in_progress", response=begun)

    def of(self, line: dict[str, Any]) -> Iterator[Event]:
        """The events for a native line. After the first call, text is dropped."""
        native = line["message"]
        if thinking := native.get("thinking"):
            yield from self._think(thinking)
        if native["content"] and not self._n_calls:
            yield from self._say(native["content"])
        for call in native.get("tool_calls", []):
            if self._body.parallel_tool_calls or not self._n_calls:
                yield from self._called(call)
        if line.get("done"):
            if not self._output and not self._open:
                yield from self._say("")
            yield from self._close()
            done = _object(
                self._body, self._ids, created=self._created, status="completed", output=self._output, last=line
            )
            yield self._event("response.completed", response=done)

    def failed(self, error: dict[str, Any]) -> Event:
        """The last event of a run that fails."""
        failed = _object(self._body, self._ids, created=self._created, status="failed", output=self._output, last=None)
        return self._event("response.failed", response={**failed, "error": error})

    def _think(self, text: str) -> Iterator[Event]:
        if self._open != "reasoning":
            yield from self._close()
            self._open, self._text = "reasoning", ""
            yield self._added({"id": self._reasoning_id, "type": "reasoning", "summary": []})
        self._text += text
        item_id = self._reasoning_id
        yield self._event(
            "response.reasoning_summary_text.delta", item_id=item_id, **self._at, summary_index=0, delta=text
        )

    def _say(self, text: str) -> Iterator[Event]:
        if self._open != "message":
            yield from self._close()
            self._open, self._text = "message", ""
            item_id = self._message_id
            yield self._added(
                {"id": item_id, "type": "message", "status": "in_progress", "role": "assistant", "content": []}
            )
            yield self._event(
                "response.content_part.added", item_id=item_id, **self._at, content_index=0, part=_part("")
            )
        self._text += text
        if text:
            item_id = self._message_id
            yield self._event(
                "response.output_text.delta", item_id=item_id, **self._at, content_index=0, delta=text, logprobs=[]
            )

    def _called(self, call: dict[str, Any]) -> Iterator[Event]:
        yield from self._close()
        item_id = f"fc_{self._ids.response}_{self._n_calls}"
        self._n_calls += 1
        item = _call(item_id, call)
        yield self._added(_call(item_id, call, begun=True))
        arguments = item["arguments"]
        yield self._event("response.function_call_arguments.delta", item_id=item_id, **self._at, delta=arguments)
        yield self._event("response.function_call_arguments.done", item_id=item_id, **self._at, arguments=arguments)
        yield self._done(item)

    def _close(self) -> Iterator[Event]:
        kind, self._open = self._open, ""
        if kind == "reasoning":
            item = _reasoning(self._reasoning_id, self._text)
            text = {"item_id": item["id"], **self._at, "summary_index": 0, "text": self._text}
            yield self._event("response.reasoning_summary_text.done", **text)
            yield self._done(item)
        elif kind == "message":
            item, at = _text_item(self._message_id, self._text), {"item_id": self._message_id, **self._at}
            yield self._event("response.output_text.done", **at, content_index=0, text=self._text, logprobs=[])
            yield self._event("response.content_part.done", **at, content_index=0, part=_part(self._text))
            yield self._done(item)

    @property
    def _at(self) -> dict[str, int]:
        return {"output_index": len(self._output)}

    @property
    def _reasoning_id(self) -> str:
        return f"rs_{self._ids.response}_{len(self._output)}"

    @property
    def _message_id(self) -> str:
        """A turn has more than one message only where the model thinks between them."""
        return f"{self._ids.message}_{len(self._output)}"

    def _added(self, item: Item) -> Event:
        return self._event("response.output_item.added", **self._at, item=item)

    def _done(self, item: Item) -> Event:
        event = self._event("response.output_item.done", **self._at, item=item)
        self._output.append(item)
        return event

    def _event(self, kind: str, **fields: Any) -> Event:
        event = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return event
