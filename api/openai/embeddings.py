"""Vectors: from OpenAI's request to the native one, and from vectors to OpenAI's answer."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from gristmill.runtime.errors import InvalidRequest

from ..embed import Embedding
from ..errors import shown
from ..schema import EmbedRequest
from .schema import EmbeddingRequest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["embed_request", "embedding_list"]


def embed_request(body: EmbeddingRequest) -> EmbedRequest:
    """An empty text is one input. Raises InvalidRequest."""
    if body.encoding_format.lower() not in ("", "float", "base64"):
        raise InvalidRequest(
            f"Invalid value for 'encoding_format' = {shown(body.encoding_format)}. "
            "Supported values: ['float', 'base64']."
        )
    if body.input is None or body.input == []:
        raise InvalidRequest("invalid input")
    return EmbedRequest(
        model=body.model,
        input=[""] if body.input == "" else body.input,
        dimensions=body.dimensions,
        keep_alive=body.keep_alive,
        options=body.options,
    )


def embedding_list(body: EmbeddingRequest, embedding: Embedding) -> dict[str, Any]:
    """The whole answer. Vectors in base64 are 32-bit floats, little-endian."""
    shape = _base64 if body.encoding_format.lower() == "base64" else _floats
    data = [
        {"object": "embedding", "embedding": shape(vector), "index": index}
        for index, vector in enumerate(embedding.vectors)
    ]
    usage = {"prompt_tokens": embedding.n_tokens, "total_tokens": embedding.n_tokens}
    return {"object": "list", "data": data, "model": body.model, "usage": usage}


def _floats(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """As it is: the encoder writes the shortest digits that mean the same 32-bit float."""
    return vector


def _base64(vector: NDArray[np.float32]) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
