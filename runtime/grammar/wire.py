"""What the checker and its worker process say to each other; each ``Job`` gets one ``Answer``."""

from __future__ import annotations

import msgspec

from ..params import Grammar


class Job(msgspec.Struct, frozen=True, kw_only=True, tag="job"):
    """Compile ``grammar`` within ``timeout_s`` seconds."""

    grammar: Grammar
    timeout_s: float


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag="answer"):
    """Why the grammar cannot be used, or None."""

    error: str | None = None
