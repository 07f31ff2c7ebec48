"""POST /v1/messages and /v1/messages/count_tokens."""

from __future__ import annotations

from aiohttp import web

from ..answer import whole_chat
from ..chat import count_chat, start_chat
from ..error_shapes import error_body
from ..errors import error_text, status_of
from ..schema import ChatRequest
from ..service import SERVICE, off_loop, single_quoted
from ..sse import EVENT_HEADERS, event_frame, event_frames, plain_json, read_body
from ..stream import send_frames
from .answer import MessageEvents, message
from .request import MessagesRequest, check, native_request

__all__ = ["count_tokens", "messages"]


async def messages(request: web.Request) -> web.StreamResponse:
    """POST /v1/messages"""
    body = await read_body(request, MessagesRequest)
    check(body)
    service = request.app[SERVICE]
    native = await _native(request, body)
    answer = await start_chat(service, native, request.remote or "")
    if not body.stream:
        return plain_json(message(body.model, await whole_chat(answer.lines), one_call=body.one_call))

    def last_frame(error: Exception) -> bytes:
        return event_frame({**error_body(request.path, status_of(error), error_text(error)), "type": "error"})

    n_chars = sum(len(item.content) for item in native.messages)
    events = MessageEvents(body.model, n_chars, one_call=body.one_call)
    return await send_frames(request, event_frames(answer.lines, events), EVENT_HEADERS, last_frame)


async def count_tokens(request: web.Request) -> web.Response:
    """POST /v1/messages/count_tokens: of the prompt that the request would make. Loads the model."""
    body = await read_body(request, MessagesRequest)
    check(body, counts_only=True)
    service = request.app[SERVICE]
    n = await count_chat(service, await _native(request, body), request.remote or "")
    return plain_json({"input_tokens": n})


async def _native(request: web.Request, body: MessagesRequest) -> ChatRequest:
    target = await request.app[SERVICE].find(body.model, single_quoted)
    return await off_loop(request, native_request, body, can_think="thinking" in target.facts.capabilities)
