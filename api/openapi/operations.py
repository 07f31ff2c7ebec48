"""Every endpoint: what it takes, what it answers. The one table that the document and its tests are made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .. import schema
from ..openai import answers as openai
from ..openai import schema as openai_schema
from . import answers

__all__ = ["OPERATIONS", "Operation"]


@dataclass(frozen=True)
class Operation:
    """``stream`` is the content type of a streamed answer; lines of NDJSON are of the type ``answer``, too.

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

OPERATIONS: dict[tuple[str, str], Operation] = {
    ("GET", "/"): Operation("Whether a server is there", answer=str, errors=()),
    ("GET", "/api/version"): Operation("The version of Ollama whose API this is", answer=answers.Version, errors=()),
    ("GET", "/api/status"): Operation("That there is no cloud", answer=answers.Status, errors=()),
    ("GET", "/api/tags"): Operation("All models, newest first", answer=answers.Tags, errors=(500,)),
    ("GET", "/api/ps"): Operation("Loaded models", answer=answers.Ps, errors=(500,)),
    ("POST", "/api/show"): Operation("Everything about a model", schema.ShowRequest, answers.Shown),
    ("POST", "/api/copy"): Operation("Give a model a second name", schema.CopyRequest),
    ("DELETE", "/api/delete"): Operation("Delete a model", schema.DeleteRequest),
    ("POST", "/api/create"): Operation("Make a model", schema.CreateRequest, answers.Progress, NDJSON),
    ("POST", "/api/generate"): Operation("Continue a prompt", schema.GenerateRequest, answers.GenerateLine, NDJSON),
    ("POST", "/api/chat"): Operation("Answer a conversation", schema.ChatRequest, answers.ChatLine, NDJSON),
    ("POST", "/api/embed"): Operation("Vectors of texts", schema.EmbedRequest, answers.Vectors),
    ("POST", "/api/embeddings"): Operation("The vector of a text", schema.EmbeddingsRequest, answers.OneVector),
    ("POST", "/api/rerank"): Operation("Documents by relevance", schema.RerankRequest, answers.Ranking),
    ("POST", "/v1/rerank"): Operation(
        "Documents by relevance", schema.RerankRequest, answers.Ranking, error=openai.ErrorBody
    ),
    ("POST", "/api/tokenize"): Operation("Token ids of a text", schema.TokenizeRequest, answers.Tokens),
    ("POST", "/v1/tokenize"): Operation(
        "Token ids of a text", schema.TokenizeRequest, answers.Tokens, error=openai.ErrorBody
    ),
    ("POST", "/api/detokenize"): Operation("Text of token ids", schema.DetokenizeRequest, answers.Text),
    ("POST", "/v1/detokenize"): Operation(
        "Text of token ids", schema.DetokenizeRequest, answers.Text, error=openai.ErrorBody
    ),
    ("POST", "/v1/chat/completions"): Operation(
        "Answer a conversation, as OpenAI does",
        openai_schema.ChatCompletionRequest,
        openai.ChatCompletion,
        SSE,
        openai.ErrorBody,
    ),
    ("POST", "/v1/completions"): Operation(
        "Continue prompts, as OpenAI does", openai_schema.CompletionRequest, openai.Completion, SSE, openai.ErrorBody
    ),
    ("POST", "/v1/embeddings"): Operation(
        "Vectors, as OpenAI has them", openai_schema.EmbeddingRequest, openai.EmbeddingList, error=openai.ErrorBody
    ),
    ("GET", "/v1/models"): Operation(
        "All models, as OpenAI lists them", answer=openai.ModelList, error=openai.ErrorBody, errors=(500,)
    ),
    ("GET", "/v1/models/{model:.+}"): Operation(
        "One model, as OpenAI lists it", answer=openai.OneModel, error=openai.ErrorBody, errors=(400, 404, 500)
    ),
    ("HEAD", "/api/blobs/{digest}"): Operation("Whether a blob is there", errors=(400, 404)),
    ("POST", "/api/blobs/{digest}"): Operation("Upload a blob", bytes, success=(200, 201), errors=(400, 500)),
    ("GET", "/openapi.json"): Operation("This document", answer=dict[str, Any], errors=()),
}
