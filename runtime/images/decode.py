"""Decodes a picture and brings it to the squares that a model wants. The only user of Pillow.

Pixels are those that a browser shows: turned as EXIF says, what is transparent over white. Errors are our own words:
a library's may hold addresses of objects.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO

from ..errors import InvalidRequest
from .formats import MAX_PIXELS, MAX_SIDE, kind_of
from .wire import Picture, Preparation

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_TILED_SIDE = 4096
_ORIENTATION = 0x0112  # the tag's number in EXIF
_DEEP = "I;16"  # one channel of 16 bits
_WHITE = (255, 255, 255, 255)


def decode(data: bytes, preparation: Preparation) -> Picture:
    """``data`` is a file of a supported format. Raises InvalidRequest for one that is not, is cut off or too large."""
    squares, n_rows, n_cols = prepare(upright(data), preparation)
    pixels = b"".join(square.tobytes() for square in squares)
    return Picture(size=preparation.size, pixels=pixels, n_rows=n_rows, n_cols=n_cols)


def upright(data: bytes) -> Image:
    """The picture in mode RGB. Of an animation the first frame. Raises InvalidRequest."""
    kind = kind_of(data)
    opener = _opener(kind)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pictures that are odd in ways that do not matter
            image = opener(io.BytesIO(data))
            _check_size(*image.size)
            image.load()
            return _rgb(_turned(image))
    except (InvalidRequest, MemoryError):
        raise
    except Exception:  # whatever a decoder makes of broken files
        raise InvalidRequest(f"the {kind.upper()} image is damaged or cut off") from None


def _opener(kind: str) -> Callable[[BinaryIO], Image]:
    """The decoder for ``kind`` alone: others are not even loaded."""
    from PIL import BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

    openers: dict[str, Any] = {
        "bmp": BmpImagePlugin.BmpImageFile,
        "gif": GifImagePlugin.GifImageFile,
        "jpeg": JpegImagePlugin.JpegImageFile,
        "png": PngImagePlugin.PngImageFile,
        "webp": WebPImagePlugin.WebPImageFile,
    }
    opener: Callable[[BinaryIO], Image] = openers[kind]
    return opener


def _check_size(width: int, height: int) -> None:
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise InvalidRequest(
            f"an image of {width} x {height} pixels is over the limit of {MAX_SIDE} for a side "
            f"and {MAX_PIXELS // 1_000_000} million in all"
        )
    if min(width, height) < 1:
        raise InvalidRequest("the image has no pixels")


def _turned(image: Image) -> Image:
    from PIL.Image import Transpose

    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # broken EXIF says nothing
        return image
    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image


def _rgb(image: Image) -> Image:
    import PIL.Image

    if image.mode == _DEEP:  # the high byte
        image = image.point(lambda x: x * (1 / 256), "L")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        over = image.convert("RGBA")
        white = PIL.Image.new("RGBA", over.size, _WHITE)
        return PIL.Image.alpha_composite(white, over).convert("RGB")
    return image.convert("RGB")


# -- to squares ----------------------------------------------------------------------------------------------------


def prepare(image: Image, preparation: Preparation) -> tuple[list[Image], int, int]:
    """Squares of ``preparation.size``, and in how many rows and columns all but the last lie."""
    if preparation.fit == "tiles":
        return _tiles(image, preparation)
    if preparation.fit == "pad":
        image = _padded(image, preparation.fill)
    return [_resized(image, preparation.size, preparation.size, preparation)], 0, 0


def _padded(image: Image, fill: tuple[int, int, int]) -> Image:
    import PIL.Image

    side = max(image.size)
    square = PIL.Image.new("RGB", (side, side), fill)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def _resized(image: Image, width: int, height: int, preparation: Preparation) -> Image:
    from PIL.Image import Resampling

    filters = {"bilinear": Resampling.BILINEAR, "bicubic": Resampling.BICUBIC, "lanczos": Resampling.LANCZOS}
    size = width, height
    return image if image.size == size else image.resize(size, filters[preparation.filter])


def _tiles(image: Image, preparation: Preparation) -> tuple[list[Image], int, int]:
    """After transformers' Idefics3 processor: first to the longest edge, then to whole squares, then cut."""
    size = preparation.size
    if preparation.longest_edge:
        image = _resized(image, *_to_longest(*image.size, preparation.longest_edge), preparation)
        image = _resized(image, *_to_whole(*image.size, size), preparation)
    whole = _resized(image, size, size, preparation)
    if not preparation.longest_edge or max(image.size) <= size:
        return [whole], 0, 0
    n_cols, n_rows = image.width // size, image.height // size
    corners = [(col * size, row * size) for row in range(n_rows) for col in range(n_cols)]
    return [image.crop((x, y, x + size, y + size)) for x, y in corners] + [whole], n_rows, n_cols


def _to_longest(width: int, height: int, longest: int) -> tuple[int, int]:
    """Keeps the proportions; the shorter edge is even, and at least 1."""
    longest = min(longest, MAX_TILED_SIDE)
    shorter = int(longest * min(width, height) / max(width, height))
    shorter = max(shorter + shorter % 2, 1)
    return (longest, shorter) if width >= height else (shorter, longest)


def _to_whole(width: int, height: int, size: int) -> tuple[int, int]:
    """Both edges up to multiples of ``size``, the longer one first."""
    longer = math.ceil(max(width, height) / size) * size
    shorter = math.ceil(int(longer * min(width, height) / max(width, height)) / size) * size
    shorter = max(shorter, size)
    return (longer, shorter) if width >= height else (shorter, longer)
