"""The endpoints of OpenAI's API. Each reads a request, has it run as native ones, and translates what comes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from gristmill.runtime.errors import InvalidRequest

from ..answer import whole_chat, whole_generate
from ..chat import start_chat
from ..embed import start_embed
from ..errors import error_text, status_of
from ..generate import start_generate
from ..library import listed
from ..output import to_json
from ..service import SERVICE, read_request, single_quoted
from ..store import Name
from ..stream import Frames, Lines, send_frames
from .chat import chat_requests
from .chat_answer import ChatStream, chat_completion
from .choices import interleaved, joined
from .completions import CompletionStream, completion, completion_requests
from .embeddings import embed_request, embedding_list
from .errors import openai_error
from .frames import DONE, FrameMaker, new_head, sse
from .models import model_list, one_model
from .schema import ChatCompletionRequest, CompletionRequest, EmbeddingRequest

T = TypeVar("T", bound=msgspec.Struct)


async def chat_completions(request: web.Request) -> web.StreamResponse:
    """POST /v1/chat/completions: see docs/openai.md."""
    body = await _read(request, ChatCompletionRequest)
    service, client, one_call = request.app[SERVICE], request.remote or "", not body.parallel_tool_calls
    sources = [(await start_chat(service, native, client)).lines for native in chat_requests(body)]
    if body.stream and not body.debug_render_only:
        head = new_head("chatcmpl", "chat.completion.chunk", body.model)
        include_usage = body.stream_options.include_usage
        return await _stream(
            request, ChatStream(head, len(sources), include_usage=include_usage, one_call=one_call), sources
        )
    lines = await joined(sources, whole_chat)
    head = new_head("chatcmpl", "chat.completion", body.model)
    return _json(chat_completion(head, lines, one_call=one_call))


async def completions(request: web.Request) -> web.StreamResponse:
    """POST /v1/completions: see docs/openai.md."""
    body = await _read(request, CompletionRequest)
    service, client, n_top = request.app[SERVICE], request.remote or "", body.logprobs or 0
    sources = [(await start_generate(service, native, client)).lines for native in completion_requests(body)]
    head = new_head("cmpl", "text_completion", body.model)
    if body.stream and not body.debug_render_only:
        include_usage = body.stream_options.include_usage
        maker = CompletionStream(head, len(sources), body.n, n_top=n_top, include_usage=include_usage)
        return await _stream(request, maker, sources)
    lines = await joined(sources, whole_generate)
    return _json(completion(head, lines, body.n, n_top))


async def embeddings(request: web.Request) -> web.Response:
    """POST /v1/embeddings: see docs/openai.md."""
    body = await _read(request, EmbeddingRequest)
    _, embedding = await start_embed(request.app[SERVICE], embed_request(body), request.remote or "")
    return _json(embedding_list(body, embedding))


async def models(request: web.Request) -> web.Response:
    """GET /v1/models: all models, newest first."""
    found = await asyncio.to_thread(listed, request.app[SERVICE])
    return _json(model_list([model for model, _ in found]))


async def model(request: web.Request) -> web.Response:
    """GET /v1/models/{model}: one of them. A name may have a namespace."""
    sent = request.match_info["model"]
    target = await request.app[SERVICE].find(sent, lambda sent: single_quoted(Name.parse(sent).short))
    return _json(one_model(sent, target.model))


async def _read(request: web.Request, kind: type[T]) -> T:
    """Raises as ``read_request`` does, for no body with the text that Go's decoder has for it."""
    if not request.can_read_body:
        raise InvalidRequest("EOF")
    return await read_request(request, kind)


def _json(value: dict[str, Any]) -> web.Response:
    return web.Response(body=to_json(value) + b"\n", headers={"Content-Type": "application/json"})


async def _stream(request: web.Request, maker: FrameMaker, sources: Sequence[Lines]) -> web.StreamResponse:
    """Frames as server-sent events. An error after the first of them is the last one, without ``[DONE]``."""

    async def frames() -> Frames:
        async with aclosing(interleaved(sources)) as lines:
            async for index, line in lines:
                for frame in maker.frames(index, line):
                    yield sse(frame)
        for frame in maker.end():
            yield sse(frame)
        yield DONE

    def last_frame(error: Exception) -> bytes:
        return sse(openai_error(status_of(error), error_text(error)))

    return await send_frames(request, frames(), {"Content-Type": "text/event-stream"}, last_frame)
