"""When to try again: growing pauses with jitter, or the time that the server names."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from .errors import RegistryError, Stalled, Transient
from .limits import Limits

__all__ = ["Tries", "retry_after"]


class Tries:
    """The tries of one thing, a part or a document. One that got somewhere makes the count begin anew."""

    def __init__(self, limits: Limits, attempts: int | None = None):
        self._limits = limits
        self._attempts = limits.attempts if attempts is None else attempts
        self._failed = 0

    async def after(self, error: Transient, *, progress: int = 0) -> None:
        """Wait for the next try, after one that failed with ``error`` and moved ``progress`` bytes.

        Raises RegistryError when there have been enough of them.
        """
        if progress >= self._limits.renewal_bytes:
            self._failed = 0
        if not (isinstance(error, Stalled) and progress):  # a stall behind some bytes uses up no try
            self._failed += 1
        if self._failed >= self._attempts:
            raise RegistryError(f"max retries exceeded: {error}") from error
        await asyncio.sleep(self._pause(error.retry_after_s))

    def _pause(self, asked_s: float | None) -> float:
        if asked_s is not None:
            return min(asked_s, self._limits.max_retry_after_s)
        longest: float = self._limits.pause_s * 2.0 ** max(self._failed - 1, 0)
        return random.uniform(0.5, 1.0) * min(longest, self._limits.max_pause_s)


def retry_after(header: str | None) -> float | None:
    """Seconds that ``Retry-After`` asks for: a number or a date (RFC 9110, 10.2.3); None for nonsense."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max((date - datetime.now(UTC)).total_seconds(), 0.0)
