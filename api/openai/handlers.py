"""OpenAI's endpoints: the routes' handlers. What they say is made by the files beside this one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterable, Sequence
from contextlib import aclosing
from typing import Any, Protocol

from aiohttp import web

from ..answer import Answer, whole_chat, whole_generate
from ..chat import start_chat
from ..embed import start_embed
from ..error_shapes import error_body
from ..errors import NotFound, error_text, status_of
from ..generate import start_generate
from ..service import SERVICE, single_quoted
from ..sse import DATA_HEADERS, data_frame, plain_json, read_body
from ..store import ModelNotFound, Name, StoredModel
from ..stream import Frames, Lines, send_frames
from . import chat, completions, embeddings

__all__ = ["chat_completions", "completions_", "embed", "get_model", "list_models"]

DONE = b"data: [DONE]\n\n"

Numbered = AsyncGenerator[tuple[int, dict[str, Any]], None]


class Chunks(Protocol):
    """Makes a stream's objects of native lines."""

    def of(self, line: dict[str, Any], index: int = 0) -> Any: ...
    def end(self) -> Any: ...


async def chat_completions(request: web.Request) -> web.StreamResponse:
    """POST /v1/chat/completions"""
    body = await read_body(request, chat.ChatCompletionRequest)
    chat.check_model(body.model)
    service, client = request.app[SERVICE], request.remote or ""
    natives = [chat.native_request(body, i) for i in range(body.n)]
    answers = [await start_chat(service, native, client) for native in natives]
    if body.stream and answers[0].is_stream:
        return await _send(request, answers, chat.ChatChunks(body))
    return plain_json(chat.completion(body, await all_of(whole_chat(a.lines) for a in answers)))


async def completions_(request: web.Request) -> web.StreamResponse:
    """POST /v1/completions"""
    body = await read_body(request, completions.CompletionRequest)
    service, client = request.app[SERVICE], request.remote or ""
    answers = [await start_generate(service, native, client) for native in completions.native_requests(body)]
    if body.stream and answers[0].is_stream:
        return await _send(request, answers, completions.CompletionChunks(body))
    return plain_json(completions.completion(body, await all_of(whole_generate(a.lines) for a in answers)))


async def embed(request: web.Request) -> web.Response:
    """POST /v1/embeddings"""
    body = await read_body(request, embeddings.OpenAIEmbeddingsRequest)
    native = embeddings.native_request(body)
    _, embedding = await start_embed(request.app[SERVICE], native, request.remote or "")
    return plain_json(embeddings.embeddings(body, embedding))


async def list_models(request: web.Request) -> web.Response:
    """GET /v1/models"""
    models = await asyncio.to_thread(request.app[SERVICE].store.list)
    return plain_json({"object": "list", "data": [_model(model, model.name.short) for model in models]})


async def get_model(request: web.Request) -> web.Response:
    """GET /v1/models/{model}: names with a namespace have slashes."""
    sent = request.match_info["model"]
    try:
        model = await asyncio.to_thread(request.app[SERVICE].store.find, sent)
    except ModelNotFound:
        raise NotFound(single_quoted(Name.parse(sent).short)) from None
    return plain_json(_model(model, sent))


def _model(model: StoredModel, shown: str) -> dict[str, Any]:
    created = model.modified_ns // 10**9
    return {"id": shown, "object": "model", "created": created, "owned_by": model.name.namespace}


async def _send(request: web.Request, answers: Sequence[Answer], chunks: Chunks) -> web.StreamResponse:
    async def frames() -> Frames:
        async with aclosing(merged([answer.lines for answer in answers])) as lines:
            async for index, line in lines:
                for chunk in chunks.of(line, index):
                    yield data_frame(chunk)
        for chunk in chunks.end():
            yield data_frame(chunk)
        yield DONE

    def last_frame(error: Exception) -> bytes:
        return data_frame(error_body(request.path, status_of(error), error_text(error)))

    return await send_frames(request, frames(), DATA_HEADERS, last_frame)


async def merged(streams: Sequence[Lines]) -> Numbered:
    """The lines of all ``streams`` as they come, with their stream's number. An error of one ends all."""
    if len(streams) == 1:
        async with aclosing(streams[0]) as only:
            async for line in only:
                yield 0, line
        return
    queue: asyncio.Queue[tuple[int, dict[str, Any] | Exception | None]] = asyncio.Queue(maxsize=len(streams))

    async def forward(index: int, lines: Lines) -> None:
        try:
            async with aclosing(lines):
                async for line in lines:
                    await queue.put((index, line))
            await queue.put((index, None))
        except Exception as error:
            await queue.put((index, error))

    tasks = [asyncio.create_task(forward(i, lines)) for i, lines in enumerate(streams)]
    try:
        running = len(tasks)
        while running:
            index, item = await queue.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                running -= 1
            else:
                yield index, item
    finally:
        await _end(tasks)


async def all_of(work: Iterable[Coroutine[Any, Any, dict[str, Any]]]) -> list[dict[str, Any]]:
    """All results; the first error ends the others."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        await _end(tasks)


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
