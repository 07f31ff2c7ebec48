"""What the renderer and its worker process say to each other, and the framing.

A frame is a 4-byte little-endian length and JSON. The worker says ``Ready`` once, then each ``Job`` gets one
``Answer``.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

import msgspec

LENGTH = struct.Struct("<I")


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The worker has imported what it needs."""


class Job(msgspec.Struct, frozen=True, kw_only=True, tag="job"):
    """Render ``source`` with ``data``, an object in JSON, within ``timeout_s`` seconds."""

    source: str
    data: msgspec.Raw
    timeout_s: float


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag="answer"):
    """The rendered text, or why there is none."""

    text: str = ""
    error: str | None = None


def encode_frame(message: Ready | Job | Answer) -> bytes:
    """``message`` as one frame. Raises OverflowError for one of more than 4 GiB."""
    body = msgspec.json.encode(message)
    if len(body) >> 32:
        raise OverflowError(f"a message of {len(body)} bytes does not fit a frame")
    return LENGTH.pack(len(body)) + body


def read_frame(stream: BinaryIO) -> bytes | None:
    """The body of the next frame, None at the end of the stream, also where that cuts a frame short."""
    header = stream.read(LENGTH.size)
    if len(header) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(header)
    body = stream.read(length)
    return body if len(body) == length else None
