"""Byte-pair encoding over characters, for vocabularies in SentencePiece's style, without a table of merges.

The tokenizers library has the same loop, but needs every merge spelled out: for the 262,144 tokens of Gemma 3 these
are 513,511, and building the table takes 2.3 s. Here a pair's priority is looked up when it comes up. Knows no
kinds of tokens and no bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush

__all__ = ["SPACE", "Priority", "boundaries", "by_rank", "by_score", "merge"]

SPACE = "▁"  # stands for a space in these vocabularies

_APART = "\ud800"

Priority = Callable[[str, str], float | None]
"""Priority of joining two neighbours, the smallest goes first. None: they never join."""


def by_score(pieces: Mapping[str, int], scores: Sequence[float]) -> Priority:
    """SentencePiece's rule: neighbours join if their text is a token, and the token with the highest score is first."""

    def priority(left: str, right: str) -> float | None:
        token_id = pieces.get(left + right)
        return None if token_id is None else -scores[token_id]

    return priority


def by_rank(pieces: Mapping[str, int], merges: Sequence[str]) -> Priority:
    """The rule of a file that lists its merges as ``left right``: those, in the file's order, that make a token."""
    # Backwards, so that the first of equals wins.
    ranks = dict(zip(reversed(merges), range(len(merges) - 1, -1, -1), strict=True))

    def priority(left: str, right: str) -> float | None:
        rank = ranks.get(f"{left} {right}")
        return rank if rank is not None and left + right in pieces else None

    return priority


def merge(text: str, priority: Priority) -> list[str]:
    """Join the best two neighbours of ``text``, the leftmost of equals, until none join: O(n log n) for n characters.

    What remains are tokens, and characters that joined with nothing.
    """
    # parts[i] is None once it went into the part before it. A heap entry is outdated when one of its parts is
    # gone or has grown.
    n = len(text)
    parts: list[str | None] = list(text)
    before, after = list(range(-1, n - 1)), list(range(1, n + 1))
    heap = [(rank, i, i + 1, 2) for i in range(n - 1) if (rank := priority(text[i], text[i + 1])) is not None]
    heapify(heap)
    while heap:
        _, i, k, n_chars = heappop(heap)
        left, right = parts[i], parts[k]
        if left is None or right is None or len(left) + len(right) != n_chars:
            continue
        joined = left + right
        parts[i], parts[k] = joined, None
        h, k = before[i], after[k]
        after[i] = k
        if k < n:
            before[k] = i
            right = parts[k]
            assert right is not None
            if (rank := priority(joined, right)) is not None:
                heappush(heap, (rank, i, k, n_chars + len(right)))
        if h >= 0:
            left = parts[h]
            assert left is not None
            if (rank := priority(left, joined)) is not None:
                heappush(heap, (rank, h, i, n_chars + len(left)))
    return [part for part in parts if part is not None]


def boundaries(pieces: Iterable[str]) -> re.Pattern[str]:
    """Splits texts into words that merge independently of each other.

    Two characters fall into different words if one of them is SPACE or a newline and no token has them side by
    side. In most vocabularies that is before every run of SPACE and around every run of newlines.
    """
    # Neither texts nor pieces have surrogates, so one can keep the pieces apart.
    text = _APART.join(pieces)
    before_space, _ = _neighbours(text, SPACE)
    before_newline, after_newline = _neighbours(text, "\n")
    return re.compile(
        f"(?<={_none_of(before_space)})(?={SPACE})"
        f"|(?<={_none_of(before_newline)})(?=\n)"
        f"|(?<=\n)(?={_none_of(after_newline)})"
    )


def _neighbours(text: str, char: str) -> tuple[set[str], set[str]]:
    """The characters right before and right after any ``char`` in ``text``."""
    parts = text.split(char)
    before, after = {part[-1:] or char for part in parts[:-1]}, {part[:1] or char for part in parts[1:]}
    return before - {_APART}, after - {_APART}


def _none_of(chars: Collection[str]) -> str:
    return f"[^{''.join(map(re.escape, sorted(chars)))}]" if chars else r"[\s\S]"
