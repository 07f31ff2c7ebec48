"""The endpoints of OpenAI's API. Each reads a request, has it run as native ones, and translates what comes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

from aiohttp import web

from ..answer import whole_chat, whole_generate
from ..chat import start_chat
from ..embed import start_embed
from ..error_shapes import error_body
from ..errors import error_text, status_of
from ..generate import start_generate
from ..library import listed
from ..service import SERVICE, off_loop, single_quoted
from ..sse import DATA_HEADERS, data_frame, plain_json, read_body
from ..store import Name
from ..stream import Frames, Lines, send_frames
from .chat import chat_requests
from .chat_answer import ChatStream, chat_completion
from .choices import interleaved, joined
from .completions import CompletionStream, completion, completion_requests
from .embeddings import embed_request, embedding_list
from .models import model_list, one_model
from .schema import ChatCompletionRequest, CompletionRequest, EmbeddingRequest
from .wire import DONE, FrameMaker, new_head


async def chat_completions(request: web.Request) -> web.StreamResponse:
    """POST /v1/chat/completions: see docs/openai.md."""
    body = await read_body(request, ChatCompletionRequest)
    service, client, one_call = request.app[SERVICE], request.remote or "", not body.parallel_tool_calls
    sources = [
        (await start_chat(service, native, client)).lines for native in await off_loop(request, chat_requests, body)
    ]
    if body.stream and not body.debug_render_only:
        head = new_head("chatcmpl", "chat.completion.chunk", body.model)
        include_usage = body.stream_options.include_usage
        return await _stream(
            request, ChatStream(head, len(sources), include_usage=include_usage, one_call=one_call), sources
        )
    lines = await joined(sources, whole_chat)
    head = new_head("chatcmpl", "chat.completion", body.model)
    return plain_json(chat_completion(head, lines, one_call=one_call))


async def completions(request: web.Request) -> web.StreamResponse:
    """POST /v1/completions: see docs/openai.md."""
    body = await read_body(request, CompletionRequest)
    service, client, n_top = request.app[SERVICE], request.remote or "", body.logprobs or 0
    sources = [
        (await start_generate(service, native, client)).lines
        for native in await off_loop(request, completion_requests, body)
    ]
    head = new_head("cmpl", "text_completion", body.model)
    if body.stream and not body.debug_render_only:
        include_usage = body.stream_options.include_usage
        maker = CompletionStream(head, len(sources), body.n, n_top=n_top, include_usage=include_usage)
        return await _stream(request, maker, sources)
    lines = await joined(sources, whole_generate)
    return plain_json(completion(head, lines, body.n, n_top))


async def embeddings(request: web.Request) -> web.Response:
    """POST /v1/embeddings: see docs/openai.md."""
    body = await read_body(request, EmbeddingRequest)
    native = await off_loop(request, embed_request, body)
    _, embedding = await start_embed(request.app[SERVICE], native, request.remote or "")
    return plain_json(embedding_list(body, embedding))


async def models(request: web.Request) -> web.Response:
    """GET /v1/models: all models, newest first."""
    found = await listed(request.app[SERVICE])
    return plain_json(model_list([model for model, _ in found]))


async def model(request: web.Request) -> web.Response:
    """GET /v1/models/{model}: one of them. A name may have a namespace."""
    sent = request.match_info["model"]
    target = await request.app[SERVICE].find(sent, lambda sent: single_quoted(Name.parse(sent).short))
    return plain_json(one_model(sent, target.model))


async def _stream(request: web.Request, maker: FrameMaker, sources: Sequence[Lines]) -> web.StreamResponse:
    """Frames as server-sent events. An error after the first of them is the last one, without ``[DONE]``."""

    async def frames() -> Frames:
        async with aclosing(interleaved(sources)) as lines:
            async for index, line in lines:
                for frame in maker.frames(index, line):
                    yield data_frame(frame)
        for frame in maker.end():
            yield data_frame(frame)
        yield DONE

    def last_frame(error: Exception) -> bytes:
        return data_frame(error_body(request.path, status_of(error), error_text(error)))

    return await send_frames(request, frames(), DATA_HEADERS, last_frame)
