"""An id for each request: the client's own where it sent one that is safe, else a new one. Answers and logs name it."""

from __future__ import annotations

import logging
import re
import secrets

from aiohttp import web
from aiohttp.typedefs import Handler

from gristmill.runtime.request_id import REQUEST_ID

__all__ = ["HEADER", "RequestIdFilter", "add_request_id", "current_request_id", "with_request_id"]

HEADER = "X-Request-Id"
_SAFE = re.compile(r"[A-Za-z0-9._:@/+=~-]{1,128}", re.ASCII)
_KEY = web.RequestKey("request_id", str)


def new_request_id() -> str:
    """``req_`` and 24 hexadecimal digits, as Anthropic's are."""
    return f"req_{secrets.token_hex(12)}"


def current_request_id() -> str:
    """The id of the request that this task works for; a new one outside of any."""
    return REQUEST_ID.get() or new_request_id()


@web.middleware
async def with_request_id(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The first middleware: what happens inside of it belongs to the request."""
    sent = request.headers.getall(HEADER, [])
    request_id = sent[0] if len(sent) == 1 and _SAFE.fullmatch(sent[0]) else new_request_id()
    request[_KEY] = request_id
    token = REQUEST_ID.set(request_id)
    try:
        return await handler(request)
    finally:
        REQUEST_ID.reset(token)


async def add_request_id(request: web.Request, response: web.StreamResponse) -> None:
    """Signal ``on_response_prepare``: streams and errors carry the id as well."""
    response.headers[HEADER] = request.get(_KEY, "") or new_request_id()


class RequestIdFilter(logging.Filter):
    """Puts the id of the request, or an empty text, into every record as ``request_id``."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = REQUEST_ID.get()
        return True
