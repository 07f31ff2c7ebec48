"""Renders templates in a process of their own, within limits of time and memory. Knows nothing of what they say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ..errors import TemplateError
from ..killable.host import KillableProcess, NotStarted
from .wire import Answer, Job, encode_frame

WORKER = "gristmill.runtime.chat.worker"


class Renderer:
    """``render`` for any number of tasks of one event loop, which take turns. ``close`` it at the end.

    ``timeout_s`` bounds one render, ``memory_bytes`` the worker's address space (where the system can do that).
    """

    def __init__(self, *, timeout_s: float = 2.0, memory_bytes: int = 1 << 30):
        self._timeout_s = timeout_s
        self._worker = KillableProcess(WORKER, "template renderer", timeout_s=timeout_s, memory_bytes=memory_bytes)

    async def prewarm(self) -> None:
        """Start the worker now, so that the first render need not wait for it. Raises TemplateError."""
        try:
            await self._worker.prewarm()
        except NotStarted as error:
            raise TemplateError(str(error)) from None

    async def render(self, source: str, data: Mapping[str, Any]) -> str:
        """The template's text for ``data`` (JSON-shaped).

        Raises TemplateError if the template fails, runs over a limit, or ``data`` cannot be encoded.
        """
        try:
            body = await self._worker.ask(self._job(source, data))
        except TimeoutError:
            raise TemplateError(f"template ran longer than {self._timeout_s:g} s") from None
        except (EOFError, OSError):
            raise TemplateError("template ended its worker process, it may need too much memory") from None
        except NotStarted as error:
            raise TemplateError(str(error)) from None
        answer = msgspec.json.decode(body, type=Answer)
        if answer.error is not None:
            raise TemplateError(answer.error)
        return answer.text

    async def close(self) -> None:
        """End the worker. A render that is under way finishes first, later ones are refused."""
        await self._worker.close()

    def _job(self, source: str, data: Mapping[str, Any]) -> bytes:
        try:
            encoded = msgspec.json.encode(data)
            return encode_frame(Job(source=source, data=msgspec.Raw(encoded), timeout_s=self._timeout_s))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise TemplateError(f"template data cannot be encoded: {error}") from None
