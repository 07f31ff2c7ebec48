"""Every endpoint: what it takes, what it answers. The one table that the document and its tests are made from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from .. import schema
from ..anthropic.request import MessagesRequest
from ..openai.answers import ChatCompletion, Completion, EmbeddingList
from ..openai.responses_request import ResponsesRequest
from ..openai.schema import ChatCompletionRequest, CompletionRequest, EmbeddingRequest
from . import answers

__all__ = ["OPERATIONS", "Operation"]


@dataclass(frozen=True)
class Operation:
    """``stream`` is the content type of a streamed answer, lines of NDJSON are of the type ``answer``, too.

    ``error`` is the shape of an error.
    ``answer`` None is an empty body, ``str`` plain text. ``body`` None takes none, ``bytes`` raw ones.
    """

    summary: str
    body: Any = None
    answer: Any = None
    stream: str = ""
    error: Any = answers.Error
    errors: tuple[int, ...] = (400, 404, 500, 503)
    success: tuple[int, ...] = (200,)


NDJSON = "application/x-ndjson"

SSE = "text/event-stream"

_v1 = partial(Operation, error=answers.OpenAIError)
_anthropic = partial(Operation, error=answers.AnthropicError)

OPERATIONS: dict[tuple[str, str], Operation] = {
    ("GET", "/"): Operation("Whether a server is there", answer=str, errors=()),
    ("GET", "/api/health"): Operation("Whether the service answers", answer=answers.Health, errors=()),
    ("GET", "/api/health/ready"): Operation("Whether it can work", answer=answers.Readiness, errors=(503,)),
    ("GET", "/metrics"): Operation("Figures for Prometheus", answer=str, errors=(403,)),
    ("GET", "/api/version"): Operation("The version of Ollama whose API this is", answer=answers.Version, errors=()),
    ("GET", "/api/status"): Operation("That there is no cloud", answer=answers.Status, errors=()),
    ("GET", "/api/tags"): Operation("All models, newest first", answer=answers.Tags, errors=(500,)),
    ("GET", "/api/ps"): Operation("Loaded models", answer=answers.Ps, errors=(500,)),
    ("POST", "/api/show"): Operation("Everything about a model", schema.ShowRequest, answers.Shown),
    ("POST", "/api/copy"): Operation("Give a model a second name", schema.CopyRequest),
    ("DELETE", "/api/delete"): Operation("Delete a model", schema.DeleteRequest),
    ("POST", "/api/create"): Operation("Make a model", schema.CreateRequest, answers.Progress, NDJSON),
    ("POST", "/api/pull"): Operation("Get a model from a registry", schema.PullRequest, answers.Progress, NDJSON),
    ("POST", "/api/push"): Operation("Send a model to its registry", schema.PushRequest, answers.Progress, NDJSON),
    ("POST", "/api/generate"): Operation("Continue a prompt", schema.GenerateRequest, answers.GenerateLine, NDJSON),
    ("POST", "/api/chat"): Operation("Answer a conversation", schema.ChatRequest, answers.ChatLine, NDJSON),
    ("POST", "/api/embed"): Operation("Vectors of texts", schema.EmbedRequest, answers.Vectors),
    ("POST", "/api/embeddings"): Operation("The vector of a text", schema.EmbeddingsRequest, answers.OneVector),
    ("POST", "/api/rerank"): Operation("Documents by relevance", schema.RerankRequest, answers.Ranking),
    ("POST", "/v1/rerank"): _v1("Documents by relevance", schema.RerankRequest, answers.Ranking),
    ("POST", "/api/tokenize"): Operation("Token ids of a text", schema.TokenizeRequest, answers.Tokens),
    ("POST", "/v1/tokenize"): _v1("Token ids of a text", schema.TokenizeRequest, answers.Tokens),
    ("POST", "/api/detokenize"): Operation("Text of token ids", schema.DetokenizeRequest, answers.Text),
    ("POST", "/v1/detokenize"): _v1("Text of token ids", schema.DetokenizeRequest, answers.Text),
    ("POST", "/v1/chat/completions"): _v1("Answer a conversation", ChatCompletionRequest, ChatCompletion, SSE),
    ("POST", "/v1/completions"): _v1("Continue a prompt", CompletionRequest, Completion, SSE),
    ("POST", "/v1/embeddings"): _v1("Vectors of texts", EmbeddingRequest, EmbeddingList),
    ("POST", "/v1/responses"): _v1("Answer items", ResponsesRequest, dict[str, Any], SSE),
    ("GET", "/v1/models"): _v1("All models", None, answers.ModelList),
    ("GET", "/v1/models/{model:.+}"): _v1("One model", None, answers.ModelObject),
    ("POST", "/v1/messages"): _anthropic("Answer a conversation", MessagesRequest, dict[str, Any], SSE),
    ("POST", "/v1/messages/count_tokens"): _anthropic("Count a prompt", MessagesRequest, answers.InputTokens),
    ("POST", "/api/me"): Operation("Who is signed in: nobody", success=(), errors=(401,)),
    ("POST", "/api/signout"): Operation("Nobody is signed in", success=(), errors=(401,)),
    ("DELETE", "/api/user/keys/{key}"): Operation("Nobody is signed in", success=(), errors=(401,)),
    ("POST", "/api/experimental/web_search"): Operation("There is no cloud", success=(), errors=(403,)),
    ("POST", "/api/experimental/web_fetch"): Operation("There is no cloud", success=(), errors=(403,)),
    ("GET", "/api/experimental/model-recommendations"): Operation("None", answer=answers.Recommendations, errors=()),
    ("HEAD", "/api/blobs/{digest}"): Operation("Whether a blob is there", errors=(400, 404)),
    ("POST", "/api/blobs/{digest}"): Operation("Upload a blob", bytes, success=(200, 201), errors=(400, 500)),
    ("GET", "/openapi.json"): Operation("This document", answer=dict[str, Any], errors=()),
}
