"""Which request the present task works for, so that log lines of all processes can name it."""

from __future__ import annotations

from contextvars import ContextVar

__all__ = ["REQUEST_ID"]

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
