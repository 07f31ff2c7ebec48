"""What a client is told when something fails: one table from exceptions to statuses, one place that cuts texts.

The server's own errors belong into the tree of ``gristmill.runtime.errors``:

InvalidRequest
├── NotFound         404
├── Forbidden        403
├── BodyTimeout      408
├── BodyTooLarge     413
└── UnknownCoding    415
GristmillError
└── ServerBusy       503, try again later
"""

from __future__ import annotations

import logging

from aiohttp import web

from gristmill.runtime.errors import (
    GristmillError,
    InvalidFile,
    InvalidRequest,
    TemplateError,
    UnsupportedModel,
    cut,
)

from .error_shapes import error_body
from .output import JSON_CONTENT_TYPE, to_json
from .store.errors import ModelNotFound, StoreBusy

__all__ = [
    "BodyTimeout",
    "BodyTooLarge",
    "Forbidden",
    "NotFound",
    "ServerBusy",
    "UnknownCoding",
    "error_response",
    "error_text",
    "shown",
    "status_of",
]

log = logging.getLogger(__name__)

MAX_CHARS = 512


class NotFound(InvalidRequest):
    """There is nothing of this name."""


class Forbidden(InvalidRequest):
    """This server does not do that for anybody."""


class BodyTimeout(InvalidRequest):
    """The request's body stopped coming."""


class BodyTooLarge(InvalidRequest):
    """The request's body is over the limit."""


class UnknownCoding(InvalidRequest):
    """The request's body is compressed."""


class ServerBusy(GristmillError):
    """Too much is waiting, or the server is about to end."""


_STATUS: tuple[tuple[type[Exception], int], ...] = (  # the first that fits counts
    (NotFound, 404),
    (ModelNotFound, 404),
    (Forbidden, 403),
    (BodyTimeout, 408),
    (BodyTooLarge, 413),
    (UnknownCoding, 415),
    (InvalidRequest, 400),
    (TemplateError, 400),  # most often the template says what it does not like about the messages
    (ServerBusy, 503),
    (StoreBusy, 503),
)


def status_of(error: Exception) -> int:
    """The HTTP status of an error; 500 for what is our fault or the machine's."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def error_text(error: Exception) -> str:
    """The text for the client: one line. What is no fault of the client's is logged; the text of an error that is not
    ours stays there.
    """
    if not isinstance(error, GristmillError):
        log.error("unexpected error", exc_info=error)
        return "internal error, see the server's log"
    if status_of(error) == 500:
        log.error("%s: %s", type(error).__name__, error)
    if isinstance(error, InvalidFile | UnsupportedModel):
        return one_line(f"unable to load model: {error}")
    if isinstance(error, TemplateError):
        return one_line(f"template error: {str(error).removeprefix('template: ')}")
    return one_line(str(error))


def one_line(text: str) -> str:
    """``text`` without control characters and half characters, at most MAX_CHARS long."""
    text = "".join(char if char.isprintable() else " " for char in text[: MAX_CHARS + 1])
    return text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 3] + "..."


def shown(text: str) -> str:
    """A caller's text for use inside an error's own quotes: cut, escaped."""
    return cut(text)[1:-1]


def error_response(error: Exception, content_type: str = JSON_CONTENT_TYPE, *, path: str = "") -> web.Response:
    """An error with its status, in the shape of the route ``path``."""
    status = status_of(error)
    body = to_json(error_body(path, status, error_text(error)))
    response = web.Response(body=body, status=status, headers={"Content-Type": content_type})
    if isinstance(error, ServerBusy | StoreBusy):
        response.headers["Retry-After"] = "1"
    if isinstance(error, BodyTimeout | BodyTooLarge | UnknownCoding):
        response.force_close()  # the rest of the body is not worth reading
    return response
