"""Ids that stand in a sequence where the rows of a picture go. They are below 0, as no token's id is.

An id tells which square it is, by its whole digest, and which of its rows. So wherever token ids are compared, as
where pages of the cache are looked for, different pictures are different, and the same one is the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

_ROW_BITS = 24
_ROW_MASK = (1 << _ROW_BITS) - 1


def digest_of(size: int, pixels: bytes | bytearray) -> int:
    """Of a square of ``size`` pixels: SHA-256 of its size and all its bytes."""
    return int.from_bytes(hashlib.sha256(b"%d:" % size + pixels).digest(), "big")


def places(digest: int, n_rows: int) -> list[int]:
    """The ids of all rows of a square."""
    first = digest << _ROW_BITS
    return [-1 - (first | row) for row in range(n_rows)]


def place_of(token: int) -> tuple[int, int]:
    """Digest and row that ``token``, which is below 0, stands for."""
    return (-1 - token) >> _ROW_BITS, (-1 - token) & _ROW_MASK


def end_of(tokens: Sequence[int], at: int) -> int:
    """Where the square that has a row at ``at`` ends in ``tokens``."""
    end = at + 1
    while end < len(tokens) and tokens[end] == tokens[at] - (end - at):
        end += 1
    return end


def whole_squares(tokens: Sequence[int], at: int, n: int) -> int:
    """How many of the ``n`` tokens from ``at`` on can be computed at once, if squares must not be cut.

    Fewer, so that the chunk ends before a square; more, where it begins inside of one or with it.
    """
    end = at + n
    if n <= 0 or end >= len(tokens) or tokens[end] >= 0:
        return n
    _, row = place_of(tokens[end])
    if row == 0:
        return n
    begin = end - row
    return begin - at if begin > at else end_of(tokens, end) - at


def without_parts(tokens: Sequence[int], n_rows: Mapping[int, int]) -> list[int]:
    """``tokens`` without the rows of squares that have lost others of theirs. ``n_rows`` of each digest."""
    kept: list[int] = []
    at = 0
    while at < len(tokens):
        end = at + 1
        if tokens[at] < 0:
            digest, row = place_of(tokens[at])
            end = end_of(tokens, at)
            if row or end - at != n_rows[digest]:
                at = end
                continue
        kept += tokens[at:end]
        at = end
    return kept
