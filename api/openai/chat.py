"""Chat completions: OpenAI's request as a native one, native lines as one object or as a stream of chunks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from gristmill.runtime.errors import InvalidRequest

from ..schema import ChatRequest, KeepAlive, Tool
from .inputs import format_of, stop_of, think_of
from .messages import native_messages
from .wire import FINGERPRINT, StreamOptions, Usage, finish_reason, json_text, new_id, sampling_of

__all__ = ["ChatChunks", "ChatCompletionRequest", "completion", "native_request"]

MAX_CHOICES = 16


class ChatCompletionRequest(Struct, kw_only=True):
    """Unknown fields are ignored. From ``top_k`` on: beyond OpenAI."""

    model: str = ""
    messages: list[Any] = []
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | list[Any] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    response_format: dict[str, Any] | None = None
    tools: list[Tool] = []
    tool_choice: str | dict[str, Any] = "auto"
    parallel_tool_calls: bool = True
    reasoning_effort: str = ""
    reasoning: dict[str, Any] | None = None
    logprobs: bool = False
    top_logprobs: int = 0
    logit_bias: dict[str, float] = {}
    n: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] = 1
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    options: dict[str, Any] = {}
    keep_alive: KeepAlive | None = None
    debug_render_only: bool = field(default=False, name="_debug_render_only")


def native_request(body: ChatCompletionRequest, choice: int = 0) -> ChatRequest:
    """For choice number ``choice``, whose seed is its own. Raises InvalidRequest naming the field."""
    options = sampling_of(body, choice, default_temperature=1.0, default_top_p=1.0)
    effort = str(body.reasoning.get("effort") or "") if body.reasoning is not None else body.reasoning_effort
    if (stop := stop_of(body.stop)) is not None:
        options["stop"] = stop
    if (n := body.max_completion_tokens or body.max_tokens) is not None:
        options["num_predict"] = n
    return ChatRequest(
        model=body.model,
        messages=native_messages(body.messages),
        stream=body.stream,
        format=format_of(body.response_format),
        options=options,
        keep_alive=body.keep_alive,
        think=think_of(effort),
        tools=body.tools,
        tool_choice=body.tool_choice,
        logprobs=body.logprobs,
        top_logprobs=body.top_logprobs if body.logprobs else 0,
        logit_bias=body.logit_bias,
        debug_render_only=body.debug_render_only,
    )


def completion(body: ChatCompletionRequest, wholes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The whole answer; ``wholes`` are the native answers of its choices."""
    usage = Usage()
    for whole in wholes:
        usage.add(whole)
    answer = {
        "id": new_id("chatcmpl"),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.model,
        "system_fingerprint": FINGERPRINT,
        "choices": [_choice(body, i, whole) for i, whole in enumerate(wholes)],
        "usage": usage.shown(),
    }
    if "_debug_info" in wholes[0]:
        answer["_debug_info"] = wholes[0]["_debug_info"]
    return answer


def _choice(body: ChatCompletionRequest, index: int, whole: dict[str, Any]) -> dict[str, Any]:
    native = whole["message"]
    calls = _kept_calls(native.get("tool_calls", []), body.parallel_tool_calls)
    message: dict[str, Any] = {"role": "assistant", "content": native["content"]}
    if thinking := native.get("thinking"):
        message["reasoning"] = thinking
    if calls:
        message["tool_calls"] = [_call(call) for call in calls]
    choice = {"index": index, "message": message, "finish_reason": finish_reason(whole, called=bool(calls))}
    if entries := whole.get("logprobs"):
        choice["logprobs"] = {"content": entries}
    return choice


def _kept_calls(calls: list[dict[str, Any]], parallel: bool) -> list[dict[str, Any]]:
    return calls if parallel else calls[:1]


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    return {
        "id": call.get("id", ""),
        "index": function["index"],
        "type": "function",
        "function": {"name": function["name"], "arguments": json_text(function["arguments"])},
    }


class ChatChunks:
    """Makes the chunks of one streamed answer; all have the same id and time."""

    def __init__(self, body: ChatCompletionRequest):
        self._body = body
        self._common = {
            "id": new_id("chatcmpl"),
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": body.model,
            "system_fingerprint": FINGERPRINT,
        }
        self._begun: set[int] = set()
        self._n_calls: dict[int, int] = {}
        self._usage = Usage()

    def of(self, line: dict[str, Any], index: int = 0) -> Iterator[dict[str, Any]]:
        """The chunks for a native line of choice ``index``: one for each kind of thing it says."""
        message, logprobs = line["message"], line.get("logprobs")
        calls, content, thinking = message.get("tool_calls", []), message["content"], message.get("thinking")
        if thinking:
            alone = {} if content or calls else {"content": ""}
            yield self._chunk(index, {**alone, "reasoning": thinking}, logprobs)
            logprobs = None
        if calls := self._new_calls(index, calls):
            yield self._chunk(index, {"content": content, "tool_calls": [_call(call) for call in calls]}, logprobs)
        elif content or logprobs:
            yield self._chunk(index, {"content": content}, logprobs)
        if line.get("done"):
            if index not in self._begun:
                yield self._chunk(index, {"content": ""}, None)
            self._usage.add(line)
            yield self._chunk(index, {}, None, finish_reason(line, called=bool(self._n_calls.get(index))))

    def end(self) -> Iterator[dict[str, Any]]:
        """What comes when all choices are done."""
        if self._body.stream_options and self._body.stream_options.include_usage:
            yield {**self._common, "choices": [], "usage": self._usage.shown()}

    def _new_calls(self, index: int, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        before = self._n_calls.get(index, 0)
        kept = calls if self._body.parallel_tool_calls else calls[: 1 - before]
        self._n_calls[index] = before + len(kept)
        return kept

    def _chunk(self, index: int, delta: dict[str, Any], logprobs: Any, reason: str | None = None) -> dict[str, Any]:
        if index not in self._begun:
            self._begun.add(index)
            delta = {"role": "assistant", **delta}
        choice: dict[str, Any] = {"index": index, "delta": delta, "finish_reason": reason}
        if logprobs:
            choice["logprobs"] = {"content": logprobs}
        return {**self._common, "choices": [choice]}


def check_model(model: str) -> None:
    """Raises InvalidRequest where no model is named."""
    if not model:
        raise InvalidRequest("model is required")
