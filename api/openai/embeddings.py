"""Embeddings: OpenAI's request as a native one, vectors as lists or as base64."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from gristmill.runtime.errors import InvalidRequest

from ..schema import EmbedRequest, KeepAlive

if TYPE_CHECKING:
    from ..embed import Embedding

__all__ = ["OpenAIEmbeddingsRequest", "embeddings", "native_request"]

_FORMATS = ("float", "base64")


class OpenAIEmbeddingsRequest(Struct, kw_only=True):
    """``input``: a text, texts, token ids, or lists of those. Unknown fields are ignored."""

    model: str = ""
    input: Any = None
    dimensions: int = 0
    encoding_format: str = "float"
    keep_alive: KeepAlive | None = None
    options: dict[str, Any] = {}


def native_request(body: OpenAIEmbeddingsRequest) -> EmbedRequest:
    """Raises InvalidRequest naming the field."""
    if body.encoding_format.lower() not in _FORMATS:
        raise InvalidRequest(
            f"Invalid value for 'encoding_format' = {body.encoding_format[:40]}. Supported values: ['float', 'base64']."
        )
    if body.input is None or body.input == []:
        raise InvalidRequest("invalid input")
    given = [body.input] if body.input == "" else body.input
    return EmbedRequest(
        model=body.model, input=given, dimensions=body.dimensions, keep_alive=body.keep_alive, options=body.options
    )


def embeddings(body: OpenAIEmbeddingsRequest, embedding: Embedding) -> dict[str, Any]:
    """The answer, one object for each vector."""
    as_text = body.encoding_format.lower() == "base64"
    return {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "embedding": base64.b64encode(vector.astype("<f4").tobytes()).decode() if as_text else vector,
                "index": index,
            }
            for index, vector in enumerate(embedding.vectors)
        ],
        "model": body.model,
        "usage": {"prompt_tokens": embedding.n_tokens, "total_tokens": embedding.n_tokens},
    }
