"""From a chat completion request to native chat requests, one for each choice."""

from __future__ import annotations

from typing import Any

from gristmill.runtime.errors import InvalidRequest, cut

from ..schema import ChatRequest
from .inputs import think_of
from .messages import native_messages
from .options import nth_options, run_options
from .schema import ChatCompletionRequest

__all__ = ["chat_requests", "read_response_format"]


def chat_requests(body: ChatCompletionRequest) -> list[ChatRequest]:
    """A native request for each choice. Raises InvalidRequest naming the field."""
    if not body.messages:
        raise InvalidRequest("[] is too short - 'messages'")
    messages = native_messages(body.messages)
    effort = body.reasoning_effort if body.reasoning is None else body.reasoning.effort
    options, think = _options(body), think_of(effort)
    n = 1 if body.debug_render_only else body.n
    return [
        ChatRequest(
            model=body.model,
            messages=messages,
            format=read_response_format(body.response_format),
            options=nth_options(options, i),
            keep_alive=body.keep_alive,
            think=think,
            tools=body.tools,
            tool_choice=body.tool_choice,
            logprobs=body.logprobs,
            top_logprobs=body.top_logprobs,
            logit_bias=body.logit_bias,
            debug_render_only=body.debug_render_only,
        )
        for i in range(n)
    ]


def _options(body: ChatCompletionRequest) -> dict[str, Any]:
    """The newer name of the limit wins; what is not given is 1, whatever the model's own parameters say."""
    max_tokens = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    return run_options(body, _stop(body.stop), max_tokens, temperature=1.0, top_p=1.0)


def _stop(given: str | list[Any] | None) -> list[str] | None:
    """Items that are no texts are skipped, as Ollama does."""
    if given is None or isinstance(given, str):
        return None if given is None else [given]
    return [item for item in given if isinstance(item, str)]


def read_response_format(given: dict[str, Any]) -> Any:
    """The native ``format``. Raises InvalidRequest for one that would have to be ignored."""
    kind = given.get("type") or "text"
    kind = kind.strip().lower() if isinstance(kind, str) else kind
    if kind == "text":
        return None
    if kind == "json_object":
        return "json"
    if kind != "json_schema":
        raise InvalidRequest(f"response_format: type {cut(str(kind))} is none of text, json_object, json_schema")
    named = given.get("json_schema")
    schema = named.get("schema") if isinstance(named, dict) else None
    if not isinstance(schema, dict):
        raise InvalidRequest("response_format: json_schema needs a JSON schema, an object, in json_schema.schema")
    return schema
