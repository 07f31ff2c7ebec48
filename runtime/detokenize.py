"""From token ids to text that can be shown: whole characters, and nothing that may become a stop string."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Detokenizer(Protocol):
    """Turns ids into whole characters, see ``gristmill.runtime.tokenizer``."""

    def push(self, token_id: int, /) -> str: ...

    def finish(self) -> str: ...


class TextStream:
    """Feeds ids to a detokenizer and watches for stop strings.

    The text before the first stop string is released as soon as no stop string can begin in it any more; the
    stop string and what follows never are.
    """

    def __init__(self, detokenizer: Detokenizer, stop: Sequence[str]):
        self._detokenizer = detokenizer
        self._stop = tuple(text for text in stop if text)
        self._held = ""
        self.stopped = False

    def push(self, token_id: int) -> str:
        """The text that ``token_id`` releases. Sets ``stopped`` once a stop string is complete."""
        return self._release(self._detokenizer.push(token_id))

    def finish(self) -> str:
        """What is still held back when generation ends."""
        if self.stopped:
            return ""
        text = self._release(self._detokenizer.finish())
        text, self._held = text + self._held, ""
        return text

    def _release(self, text: str) -> str:
        self._held += text
        found = [at for at in (self._held.find(stop) for stop in self._stop) if at >= 0]
        if found:
            self.stopped = True
            text, self._held = self._held[: min(found)], ""
            return text
        keep = max((_overlap(self._held, stop) for stop in self._stop), default=0)
        cut = len(self._held) - keep
        text, self._held = self._held[:cut], self._held[cut:]
        return text


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that is a proper beginning of ``stop``."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
