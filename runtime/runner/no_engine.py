"""What stands in an embedding model's runner where others have an engine: it refuses to generate."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING

from ..errors import InvalidRequest
from ..events import EngineStats, Event
from ..prompt import PromptReader

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer


class NoEngine:
    """As ``Engine`` to its owner. ``reason``: why nothing is generated."""

    kv_bytes = 0

    def __init__(self, tokenizer: Tokenizer, n_ctx: int, reason: str):
        self.read_prompt = PromptReader(tokenizer, n_ctx)
        self._reason = reason
        self._woken: queue.SimpleQueue[None] = queue.SimpleQueue()

    def submit(self, request_id: int, *prompt: object, **options: object) -> None:
        """Raises InvalidRequest."""
        raise InvalidRequest(self._reason)

    def abort(self, request_id: int) -> None:
        """No request is known here."""

    def wake(self) -> None:
        """Let a waiting ``step`` return."""
        self._woken.put(None)

    def stats(self) -> EngineStats:
        return EngineStats()

    def step(self, *, wait: bool = False) -> list[Event]:
        """Nothing to do; with ``wait``, blocks until ``wake``."""
        while wait or not self._woken.empty():
            self._woken.get()
            wait = False
        return []
