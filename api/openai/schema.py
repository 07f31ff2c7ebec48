"""What OpenAI's clients may ask for, as Structs. Keys that are not here are ignored, null is not given.

Names are those of OpenAI's reference; the fields under "extensions" are ours and llama.cpp's, vLLM's and Ollama's.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct, field

from ..schema import KeepAlive, Tool

__all__ = [
    "MAX_N",
    "ChatCompletionRequest",
    "ChatMessage",
    "CompletionFields",
    "CompletionRequest",
    "EmbeddingRequest",
    "StreamOptions",
    "WrittenCall",
]

MAX_N = 16


class WrittenFunction(Struct):
    """``arguments`` is a JSON object as text."""

    name: str = ""
    arguments: str = ""


class WrittenCall(Struct):
    id: str = ""
    function: WrittenFunction = field(default_factory=WrittenFunction)


class ChatMessage(Struct):
    """``content`` is a text or a list of parts; ``messages.py`` says which."""

    role: str = ""
    content: Any = None
    reasoning: str = ""
    tool_calls: list[WrittenCall] = []
    name: str = ""
    tool_call_id: str = ""


class StreamOptions(Struct):
    include_usage: bool = False


class Reasoning(Struct):
    effort: str = ""


class CompletionFields(Struct, kw_only=True):
    """What both kinds of completions have in common."""

    model: str = ""
    stream: bool = False
    stream_options: StreamOptions = field(default_factory=StreamOptions)
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | list[Any] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[str, float] = {}
    n: Annotated[int, Meta(ge=1, le=MAX_N)] = 1
    debug_render_only: bool = field(default=False, name="_debug_render_only")
    # Extensions:
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    repetition_penalty: float | None = None
    keep_alive: KeepAlive | None = None
    options: dict[str, Any] = {}


class ChatCompletionRequest(CompletionFields, kw_only=True):
    messages: list[ChatMessage] = []
    max_completion_tokens: int | None = None
    response_format: dict[str, Any] = {}
    tools: list[Tool] = []
    tool_choice: str | dict[str, Any] = "auto"
    parallel_tool_calls: bool = True
    reasoning_effort: str = ""
    reasoning: Reasoning | None = None
    logprobs: bool = False
    top_logprobs: int = 0


class CompletionRequest(CompletionFields, kw_only=True):
    """``prompt`` is a text or token ids, or a list of either; ``completions.py`` says which."""

    prompt: Any = ""
    suffix: str = ""
    logprobs: int | None = None
    echo: bool = False


class EmbeddingRequest(Struct, kw_only=True):
    """``input`` is a text, a list of texts, token ids, or a list of such lists."""

    model: str = ""
    input: Any = None
    dimensions: Annotated[int, Meta(ge=0)] = 0
    encoding_format: str = ""
    # Extensions:
    keep_alive: KeepAlive | None = None
    options: dict[str, Any] = {}
