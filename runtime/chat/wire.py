"""What the renderer and its worker process say to each other; each ``Job`` gets one ``Answer``."""

from __future__ import annotations

import msgspec

from ..killable.frames import encode_frame

__all__ = ["Answer", "Job", "encode_frame"]


class Job(msgspec.Struct, frozen=True, kw_only=True, tag="job"):
    """Render ``source`` with ``data``, an object in JSON, within ``timeout_s`` seconds."""

    source: str
    data: msgspec.Raw
    timeout_s: float


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag="answer"):
    """The rendered text, or why there is none."""

    text: str = ""
    error: str | None = None
