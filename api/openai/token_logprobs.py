"""Log-probabilities in the shape of OpenAI's older endpoint: lists of equal length, one item for each token."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any

from ..answer import Line

__all__ = ["TokenLogprobs"]


class TokenLogprobs:
    """Of one choice; over the frames of a stream, ``text_offset`` goes on counting.

    ``top_logprobs`` is null where no alternatives were asked for. It has the token that was drawn in any case.
    """

    def __init__(self, n_top: int):
        self._n_top = n_top
        self._n_chars = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def shown(self, entries: Sequence[Line]) -> dict[str, Any]:
        """The next tokens' lists; an offset is counted in characters from where the choice's text begins."""
        tops = [_by_token([*entry.get("top_logprobs", []), entry]) for entry in entries]
        return {
            "tokens": [_name(entry) for entry in entries],
            "token_logprobs": [entry["logprob"] for entry in entries],
            "top_logprobs": tops if self._n_top else None,
            "text_offset": [self._offset(entry) for entry in entries],
        }

    def _offset(self, entry: Line) -> int:
        """A token that goes on with a character begun before it is where that character is."""
        offset = self._n_chars
        self._n_chars += len(self._decoder.decode(bytes(entry.get("bytes", b""))))
        return offset


def _by_token(entries: Sequence[Line]) -> dict[str, float]:
    return {_name(entry): entry["logprob"] for entry in entries}


def _name(entry: Line) -> str:
    r"""A token's text; part of a character is named by its bytes, ``bytes:\xe2\x98``, so that names differ."""
    data = bytes(entry.get("bytes", b""))
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)
