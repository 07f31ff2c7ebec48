"""JSON bytes out: Ollama's escapes, content types and time formats."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import orjson
from aiohttp import web

__all__ = ["JSON_CONTENT_TYPE", "json_response", "local_time", "to_json", "utc_now"]

JSON_CONTENT_TYPE = "application/json; charset=utf-8"
_ESCAPES = (
    (b"<", b"\\u003c"),
    (b">", b"\\u003e"),
    (b"&", b"\\u0026"),
    ("\u2028".encode(), b"\\u2028"),
    ("\u2029".encode(), b"\\u2029"),
)
_LONGEST = timedelta(days=106_751)  # the longest duration there is in nanoseconds of 63 bits: 292 years


def to_json(value: Any) -> bytes:
    """``value`` as JSON in one line. ``<``, ``>``, ``&`` and two line separators are escaped, as Go's encoder does.

    These characters occur in strings only, so that replacing them in the finished text is safe.
    """
    data = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    for char, escape in _ESCAPES:
        data = data.replace(char, escape)
    return data


def json_response(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=to_json(value), status=status, headers={"Content-Type": JSON_CONTENT_TYPE})


def utc_now() -> str:
    """The time as RFC 3339 in UTC, to the nanosecond: ``2026-08-21T10:00:00.123456789Z``."""
    seconds, ns = divmod(time.time_ns(), 10**9)
    return f"{_second(seconds)}{_fraction(f'{ns:09d}')}Z"


@lru_cache(2)
def _second(seconds: int) -> str:
    """Every token has its time, so this is made once in a second."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def local_time(at: datetime, plus_s: float = 0.0) -> str:
    """``at`` plus some seconds (inf is as late as there is) as RFC 3339 with the local offset."""
    plus = timedelta(seconds=plus_s) if plus_s < _LONGEST.total_seconds() else _LONGEST
    later = (at + plus).astimezone()
    offset = later.strftime("%z")
    zone = "Z" if offset == "+0000" else f"{offset[:3]}:{offset[3:5]}"
    return f"{later:%Y-%m-%dT%H:%M:%S}{_fraction(f'{later.microsecond:06d}')}{zone}"


def _fraction(digits: str) -> str:
    digits = digits.rstrip("0")
    return f".{digits}" if digits else ""
