"""POST /v1/rerank and /api/rerank: which documents answer a query best. Beyond Ollama.

A reranking model is shown query and document together and gives a score. With any other model, the score is the
cosine of the two texts' vectors.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gristmill.runtime.errors import InvalidRequest

from .embed import MAX_INPUTS, Embedding, EmbedRun
from .output import json_response
from .schema import RerankRequest
from .service import SERVICE, read_request, required, single_quoted

RANK = 4  # of ``{arch}.pooling_type``: the model gives a score


async def rerank(request: web.Request) -> web.Response:
    """See docs/api.md."""
    body = await read_request(request, RerankRequest)
    texts = _checked_texts(body)
    service = request.app[SERVICE]
    run = EmbedRun(service, await service.find(required(body.model), single_quoted), body, request.remote or "")
    scores, n_tokens = await _scores(run, body, texts)
    order = sorted(range(len(texts)), key=lambda i: (-scores[i], i))[: body.top_n or None]
    results: list[dict[str, Any]] = [{"index": i, "relevance_score": scores[i]} for i in order]
    if body.return_documents:
        for result in results:
            result["document"] = {"text": texts[result["index"]]}
    usage = {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
    return json_response({"object": "list", "model": body.model, "results": results, "usage": usage})


def _checked_texts(body: RerankRequest) -> list[str]:
    if not body.query:
        raise InvalidRequest("query is required")
    if not body.documents:
        raise InvalidRequest("documents is required: a list of texts")
    if len(body.documents) > MAX_INPUTS:
        raise InvalidRequest(f"documents: {len(body.documents)} are over the limit of {MAX_INPUTS}")
    return [item if isinstance(item, str) else item.text for item in body.documents]


async def _scores(run: EmbedRun, body: RerankRequest, texts: list[str]) -> tuple[list[float], int]:
    """A score for each text, and the tokens that were read."""
    pooling = run.target.facts.metadata.get(f"{run.target.facts.architecture}.pooling_type")
    if pooling == RANK:
        answer = await run.vectors(texts, truncate=body.truncate, query=body.query)
        return answer.vectors[:, 0].tolist(), answer.n_tokens
    answer = await run.vectors([body.query, *texts], truncate=body.truncate)
    return _cosines(answer), answer.n_tokens


def _cosines(answer: Embedding) -> list[float]:
    query, documents = answer.vectors[0], answer.vectors[1:]
    cosines: list[float] = (documents @ query).tolist()
    return cosines
