"""Compressed bodies, within limits that are known before the first byte is decompressed. Knows no HTTP.

A body of n bytes may become ``bound(n)``: 128 MiB at most, and 200 times its size above 1 MiB. Zstandard is the one
coding there is (RFC 8878), because clients of OpenAI's API use it.
"""

from __future__ import annotations

import zstandard

from gristmill.runtime.errors import InvalidRequest

from .errors import BodyTooLarge

__all__ = ["MAX_BODY_BYTES", "bound", "decompress"]

MAX_BODY_BYTES = 128 << 20
MAX_RATIO, RATIO_FROM_BYTES = 200, 1 << 20
MAX_WINDOW_BYTES = 8 << 20
_FED_BYTES = 1 << 10  # a block of 4 bytes becomes 128 KiB at most, so these 32 MiB


def bound(n_bytes: int) -> int:
    """How many bytes a body of ``n_bytes`` may become."""
    return min(MAX_BODY_BYTES, max(RATIO_FROM_BYTES, MAX_RATIO * n_bytes))


def decompress(body: bytes) -> bytes:
    """The content of one or more frames, one behind the other. May take a while: for a thread.

    Raises BodyTooLarge above ``bound``, InvalidRequest for what is no such frame, is cut off or damaged, or needs a
    window of more than 8 MiB.
    """
    limit, content = bound(len(body)), bytearray()
    context = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
    frame = context.decompressobj()
    try:
        for at in range(0, len(body), _FED_BYTES):
            fed = body[at : at + _FED_BYTES]
            while fed:
                if frame.eof:
                    frame = context.decompressobj()
                content += frame.decompress(fed)
                if len(content) > limit:
                    raise BodyTooLarge(f"request body too large (limit {limit} bytes after decompression)")
                fed = frame.unused_data if frame.eof else b""
    except zstandard.ZstdError:
        raise InvalidRequest("request body is no zstd stream, is damaged, or needs a window above 8 MiB") from None
    if body and not frame.eof:
        raise InvalidRequest("unexpected EOF: the zstd stream of the request body is cut off")
    return bytes(content)
