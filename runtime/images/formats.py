"""Which files are pictures, by their content. Names, types and endings that a client tells are not looked at."""

from __future__ import annotations

from ..errors import InvalidRequest

MAX_IMAGES = 64  # of a request
MAX_BYTES = 32 << 20
MAX_PIXELS = 64_000_000
MAX_SIDE = 16_384
SUPPORTED = "JPEG, PNG, WebP, GIF and BMP"

_MAGIC = {b"\xff\xd8\xff": "jpeg", b"\x89PNG\r\n\x1a\n": "png", b"GIF87a": "gif", b"GIF89a": "gif", b"BM": "bmp"}


def kind_of(data: bytes) -> str:
    """``jpeg``, ``png``, ``webp``, ``gif`` or ``bmp``. Raises InvalidRequest for others and too many bytes."""
    if len(data) > MAX_BYTES:
        raise InvalidRequest(f"an image of {len(data)} bytes is over the limit of {MAX_BYTES >> 20} MiB")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    for magic, kind in _MAGIC.items():
        if data.startswith(magic):
            return kind
    raise InvalidRequest(f"unsupported image format; supported: {SUPPORTED}")
