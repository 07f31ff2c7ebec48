"""POST /v1/responses"""

from __future__ import annotations

from aiohttp import web

from ..answer import whole_chat
from ..chat import start_chat
from ..errors import error_text, status_of
from ..service import SERVICE, off_loop
from ..sse import EVENT_HEADERS, event_frame, event_frames, plain_json, read_body
from ..stream import send_frames
from .responses_answer import ResponseEvents, response
from .responses_request import ResponsesRequest, native_request

__all__ = ["responses"]


async def responses(request: web.Request) -> web.StreamResponse:
    """See docs/openai.md."""
    body = await read_body(request, ResponsesRequest)
    native = await off_loop(request, native_request, body)
    answer = await start_chat(request.app[SERVICE], native, request.remote or "")
    if not body.stream:
        return plain_json(response(body, await whole_chat(answer.lines)))
    events = ResponseEvents(body)

    def last_frame(error: Exception) -> bytes:
        code = "invalid_prompt" if status_of(error) < 500 else "server_error"
        return event_frame(events.failed({"code": code, "message": error_text(error)}))

    return await send_frames(request, event_frames(answer.lines, events), EVENT_HEADERS, last_frame)
