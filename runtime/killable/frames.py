"""The framing between a host and its process: a 4-byte little-endian length and JSON.

The process says ``Ready`` once, then each job gets one answer.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

import msgspec

LENGTH = struct.Struct("<I")


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The process has imported what it needs."""


def encode_frame(message: msgspec.Struct) -> bytes:
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
