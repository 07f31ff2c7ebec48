"""POST /api/tokenize and /api/detokenize: what a model makes of a text, and back. Beyond Ollama."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from gristmill.runtime.errors import InvalidRequest

from .lease import leased
from .manager import Lease
from .options import merge_options
from .output import json_response
from .schema import DetokenizeRequest, ModelRequest, TokenizeRequest
from .service import SERVICE, read_request, required, single_quoted

MAX_CHARS = 16 << 20
MAX_TOKENS = 4 << 20


async def tokenize(request: web.Request) -> web.Response:
    """See docs/api.md."""
    body = await read_request(request, TokenizeRequest)
    text = body.text or body.content or body.prompt
    if len(text) > MAX_CHARS:
        raise InvalidRequest(f"text: {len(text)} characters are over the limit of {MAX_CHARS}; send it in parts")
    async with _lease(request, body) as lease:
        found = await lease.runner.tokenize(text, add_special=body.add_special, parse_special=body.parse_special)
    answer: dict[str, Any] = {"model": body.model, "tokens": found.ids, "count": len(found.ids)}
    if body.with_pieces:
        answer["pieces"] = [_piece(*item) for item in zip(found.ids, found.pieces, strict=True)]
    return json_response(answer)


async def detokenize(request: web.Request) -> web.Response:
    """See docs/api.md."""
    body = await read_request(request, DetokenizeRequest)
    if len(body.tokens) > MAX_TOKENS:
        raise InvalidRequest(f"tokens: {len(body.tokens)} are over the limit of {MAX_TOKENS}; send them in parts")
    async with _lease(request, body) as lease:
        text = await lease.runner.detokenize(body.tokens)
    return json_response({"model": body.model, "text": text})


@asynccontextmanager
async def _lease(request: web.Request, body: ModelRequest) -> AsyncIterator[Lease]:
    service = request.app[SERVICE]
    target = await service.find(required(body.model), single_quoted)
    options = merge_options(target.model.params, body.options)
    async with leased(service, target, options, body.keep_alive_s, request.remote or "") as lease:
        yield lease


def _piece(token_id: int, data: bytes) -> dict[str, Any]:
    """A token may hold part of a character, so its bytes are told as well."""
    return {"id": token_id, "text": data.decode(errors="replace"), "bytes": list(data)}
