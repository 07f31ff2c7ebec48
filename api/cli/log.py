"""The server's log: one line per event on standard error, key=value, bounded, and without what clients send."""

from __future__ import annotations

import json
import logging

from aiohttp.http_exceptions import HttpProcessingError

from ..request_ids import RequestIdFilter

__all__ = ["KeyValueFormatter", "NoRawRequests", "configure_log"]

MAX_CHARS = 16_384


def configure_log(debug: int) -> None:
    """Logs to standard error, from INFO on, or everything with ``debug``."""
    handler = logging.StreamHandler()
    handler.setFormatter(KeyValueFormatter())
    handler.addFilter(RequestIdFilter())
    handler.addFilter(NoRawRequests())
    logging.basicConfig(level=logging.DEBUG if debug else logging.INFO, handlers=[handler], force=True)


class KeyValueFormatter(logging.Formatter):
    """``time=... level=INFO source=manager:12 request=req_... msg="..."``: always one line, control characters escaped.

    ``request`` is there in lines that are about one. A longer text than MAX_CHARS loses its middle.
    """

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03d"

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        if len(text) > MAX_CHARS:
            text = f"{text[: MAX_CHARS // 2]} ... {text[-MAX_CHARS // 2 :]}"
        message = json.dumps(text, ensure_ascii=False)
        source = f"{record.module}:{record.lineno}"
        request_id = getattr(record, "request_id", "")
        request = f" request={request_id}" if request_id else ""
        return f"time={self.formatTime(record)} level={record.levelname} source={source}{request} msg={message}"


class NoRawRequests(logging.Filter):
    """aiohttp shows the line that it could not read, with a traceback: there may be a key in it, and any scanner could
    fill a disk. What is left says that there was such a request.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = logging.INFO, "INFO"
            record.msg, record.args = "not HTTP: %s", (type(error).__name__,)
        return True
