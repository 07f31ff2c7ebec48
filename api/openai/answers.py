"""What OpenAI's endpoints answer, as types: for the service's description of itself, and for tests."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from ..openapi.answers import DebugInfo

__all__ = ["ChatCompletion", "ChatCompletionChunk", "Completion", "EmbeddingList"]

Count = Annotated[int, Meta(ge=0)]
Reason = str | None


class CachedTokens(Struct, kw_only=True):
    cached_tokens: Count


class Usage(Struct, kw_only=True):
    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count
    prompt_tokens_details: CachedTokens


class WrittenToken(Struct, kw_only=True):
    token: str
    logprob: float
    bytes: list[int] | None


class ChatToken(WrittenToken, kw_only=True):
    top_logprobs: list[WrittenToken]


class ChatLogprobs(Struct, kw_only=True):
    content: list[ChatToken]


class ChatFunction(Struct, kw_only=True):
    """``arguments`` is a JSON object as text."""

    name: str
    arguments: str


class ChatCall(Struct, kw_only=True):
    id: str
    index: Count
    type: Literal["function"]
    function: ChatFunction


class ChatAnswerMessage(Struct, kw_only=True):
    role: Literal["assistant"]
    content: str
    reasoning: str | UnsetType = UNSET
    tool_calls: list[ChatCall] | UnsetType = UNSET


class ChatChoice(Struct, kw_only=True):
    index: Count
    message: ChatAnswerMessage
    finish_reason: Reason
    logprobs: ChatLogprobs | UnsetType = UNSET


class _Completed(Struct, kw_only=True):
    """``created`` is in Unix seconds."""

    id: str
    created: int
    model: str
    system_fingerprint: str


class ChatCompletion(_Completed, kw_only=True):
    object: Literal["chat.completion"]
    choices: list[ChatChoice]
    usage: Usage
    debug_info: DebugInfo | UnsetType = field(default=UNSET, name="_debug_info")


class ChatDelta(Struct, kw_only=True):
    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET
    tool_calls: list[ChatCall] | UnsetType = UNSET


class ChatDeltaChoice(Struct, kw_only=True):
    index: Count
    delta: ChatDelta
    finish_reason: Reason
    logprobs: ChatLogprobs | UnsetType = UNSET


class ChatCompletionChunk(_Completed, kw_only=True):
    object: Literal["chat.completion.chunk"]
    choices: list[ChatDeltaChoice]
    usage: Usage | UnsetType = UNSET


class TextLogprobs(Struct, kw_only=True):
    """Lists of equal length, an item for each token; ``text_offset`` in characters of the choice's text."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None
    text_offset: list[Count]


class TextChoice(Struct, kw_only=True):
    text: str
    index: Count
    finish_reason: Reason
    logprobs: TextLogprobs | UnsetType = UNSET


class Completion(_Completed, kw_only=True):
    """A whole answer, and a frame of a streamed one."""

    object: Literal["text_completion"]
    choices: list[TextChoice]
    usage: Usage | UnsetType = UNSET
    debug_info: DebugInfo | UnsetType = field(default=UNSET, name="_debug_info")


class EmbeddingUsage(Struct, kw_only=True):
    prompt_tokens: Count
    total_tokens: Count


class OneEmbedding(Struct, kw_only=True):
    """``embedding`` is numbers, or 32-bit floats in base64, little-endian."""

    object: Literal["embedding"]
    embedding: list[float] | str
    index: Count


class EmbeddingList(Struct, kw_only=True):
    object: Literal["list"]
    data: list[OneEmbedding]
    model: str
    usage: EmbeddingUsage
