"""Token ids to text, one at a time. Knows no vocabulary, only a function that gives each token's bytes."""

from __future__ import annotations

import codecs
from collections.abc import Callable

__all__ = ["Detokenizer"]


class Detokenizer:
    """Emits whole characters only: the first bytes of one are held back until the rest has come.

    Bytes that never become a character come out as U+FFFD, at the latest in ``finish``; so what a detokenizer
    emits does not depend on how often it was asked. ``token_bytes`` gives a token's bytes; ``opens_text`` says
    whether the algorithm puts a space at the start of the text behind that token, which is then not the text's own.
    """

    def __init__(self, token_bytes: Callable[[int], bytes], opens_text: Callable[[int], bool]):
        self._token_bytes = token_bytes
        self._opens_text = opens_text
        self._at_start = False
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_id: int) -> str:
        """The characters that ``token_id`` completes. Raises InvalidRequest for an id outside the vocabulary."""
        data = self._token_bytes(token_id)
        if self._at_start and data.startswith(b" "):
            data = data[1:]
        self._at_start = self._opens_text(token_id)
        return self._decoder.decode(data)

    def finish(self) -> str:
        """U+FFFD if bytes are held back that will not become a character any more, else nothing."""
        return self._decoder.decode(b"", final=True)
