"""What the decoder and its worker process say to each other, and how server and runner speak of pictures."""

from __future__ import annotations

from typing import Literal

import msgspec

from ..killable.frames import encode_frame

__all__ = ["Answer", "Job", "Picture", "Preparation", "encode_frame"]


class Preparation(msgspec.Struct, frozen=True, kw_only=True):
    """How a model wants its pictures: squares of ``size`` pixels, resized with ``filter``.

    ``fit``: ``stretch`` to a square; ``pad`` with the color ``fill`` to a square first; ``tiles``: resized so that the
    longer edge has ``longest_edge`` pixels, cut into squares row by row, with the whole picture as the last square
    (0, or a picture that fits into one square: only that).
    """

    size: int
    filter: Literal["bilinear", "bicubic", "lanczos"]
    fit: Literal["stretch", "pad", "tiles"] = "stretch"
    fill: tuple[int, int, int] = (0, 0, 0)
    longest_edge: int = 0


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """A prepared picture: ``pixels`` are squares of ``size`` * ``size`` RGB bytes, one after the other.

    ``n_rows`` times ``n_cols`` of them are parts, row by row, and the last one is the whole; 0: only that.
    """

    size: int
    pixels: bytes
    n_rows: int = 0
    n_cols: int = 0

    @property
    def n_squares(self) -> int:
        return self.n_rows * self.n_cols + 1


class Job(msgspec.Struct, frozen=True, kw_only=True, tag="job"):
    """Make a ``Picture`` of the file ``data`` within ``timeout_s`` seconds."""

    data: bytes
    preparation: Preparation
    timeout_s: float


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag="answer"):
    """The picture, or why there is none."""

    picture: Picture | None = None
    error: str = ""
