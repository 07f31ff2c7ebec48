"""POST /api/embed and /api/embeddings: texts in, vectors out."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from gristmill.runtime.errors import InvalidRequest

from .errors import NotFound, shown
from .lease import leased
from .options import merge_options
from .output import json_response
from .schema import EmbeddingsRequest, EmbedRequest, ModelRequest
from .service import SERVICE, Service, Target, read_request, required, single_quoted
from .values import texts_or_ids

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_INPUTS = 16_384
_RAW_ARCHITECTURES = ("bert", "nomic-bert", "nomic-bert-moe")


@dataclass(frozen=True)
class Embedding:
    """``vectors`` float32 (n_inputs, dim), or a reranking model's scores; ``n_tokens`` of all inputs."""

    vectors: NDArray[np.float32]
    n_tokens: int = 0
    load_ns: int = 0


@dataclass
class EmbedRun:
    """One request for vectors. ``client`` is who sent it."""

    service: Service
    target: Target
    body: ModelRequest
    client: str = ""
    started_ns: int = field(default_factory=time.monotonic_ns)

    def __post_init__(self) -> None:
        self.options = merge_options(self.target.model.params, self.body.options)

    async def vectors(
        self,
        inputs: list[str] | list[list[int]],
        *,
        truncate: bool,
        dimensions: int = 0,
        normalize: bool = True,
        query: str | None = None,
    ) -> Embedding:
        """See ``messages.Embed``. Raises InvalidRequest for inputs that cannot be embedded."""
        import numpy as np

        if self.target.model.adapter_paths:
            name = shown(self.target.sent)
            raise InvalidRequest(f"model: {name} has an adapter, which embeddings would be made without; use its base")
        async with leased(self.service, self.target, self.options, self.body.keep_alive_s, self.client) as lease:
            if not inputs:
                return Embedding(np.empty((0, 0), np.float32), load_ns=lease.load_ns)
            answer = await lease.runner.embed(inputs, truncate=truncate, normalize=normalize, query=query)
            metrics = self.service.metrics
            metrics.prompt_tokens.labels(metrics.label(self.target.model.name.short)).inc(sum(answer.n_tokens))
            vectors = np.frombuffer(answer.vectors, "<f4").reshape(len(inputs), answer.dim)
            return Embedding(_shortened(vectors, dimensions), sum(answer.n_tokens), lease.load_ns)


async def embed(request: web.Request) -> web.Response:
    """See docs/api.md."""
    body = await read_request(request, EmbedRequest)
    run, embedding = await start_embed(request.app[SERVICE], body, request.remote or "")
    answer: dict[str, Any] = {"model": body.model, "embeddings": embedding.vectors}
    if len(embedding.vectors):
        answer["total_duration"] = time.monotonic_ns() - run.started_ns
        answer["load_duration"] = embedding.load_ns
        answer["prompt_eval_count"] = embedding.n_tokens
    return json_response(answer)


async def start_embed(service: Service, body: EmbedRequest, client: str) -> tuple[EmbedRun, Embedding]:
    """Vectors for a request of ``client``. Every embedding API comes here. Raises as ``EmbedRun.vectors``, NotFound."""
    if not body.model.strip():
        raise NotFound(single_quoted(""))
    inputs = read_inputs(body.input)
    run = EmbedRun(service, await service.find(body.model, _pull_first), body, client)
    return run, await run.vectors(inputs, truncate=body.truncate, dimensions=body.dimensions)


async def embeddings(request: web.Request) -> web.Response:
    """See docs/api.md."""
    body = await read_request(request, EmbeddingsRequest)
    service = request.app[SERVICE]
    target = await service.find(required(body.model), _pull_first)
    run = EmbedRun(service, target, body, request.remote or "")
    inputs = [body.prompt] if body.prompt else []
    embedding = await run.vectors(inputs, truncate=False, normalize=not _is_raw(target))
    return json_response({"embedding": embedding.vectors[0].tolist() if body.prompt else []})


def _is_raw(target: Target) -> bool:
    """Whether the model is of the older ones whose vectors this endpoint has never normalised."""
    key = f"{target.facts.architecture}.normalize_embeddings"
    return target.facts.architecture in _RAW_ARCHITECTURES and key not in target.facts.metadata


def read_inputs(given: Any) -> list[str] | list[list[int]]:
    """A text, texts, token ids or lists of token ids, as a list. Nothing, "" and [] are no inputs.

    Raises InvalidRequest for other types, and for too many.
    """
    if given is None or given == "" or given == []:
        return []
    inputs = texts_or_ids(given)
    if inputs is None:
        raise InvalidRequest("invalid input type")
    if len(inputs) > MAX_INPUTS:
        raise InvalidRequest(f"input: {len(inputs)} texts are over the limit of {MAX_INPUTS}; send them in parts")
    return inputs


def _shortened(vectors: NDArray[np.float32], dimensions: int) -> NDArray[np.float32]:
    """The first ``dimensions`` values of each vector, at length 1 again; all of them for 0 and for too many."""
    import numpy as np

    if not 0 < dimensions < vectors.shape[1]:
        return vectors
    cut = vectors[:, :dimensions].astype(np.float64)
    lengths = np.linalg.norm(cut, axis=1, keepdims=True)
    return np.ascontiguousarray(cut / np.maximum(lengths, 1e-12), dtype=np.float32)


def _pull_first(name: str) -> str:
    return f'model "{shown(name)}" not found, try pulling it first'
