"""Renders templates in a process of their own, within limits of time and memory. Knows nothing of what they say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ..errors import TemplateError
from ..killable.host import KillableProcess, NotStarted
from .families import Family
from .go_template.inspect import GoFacts
from .wire import Answer, GoRequest, Job, ProbeTokens, Task, encode_frame

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
        """The text of a Jinja template for ``data`` (JSON-shaped).

        Raises TemplateError if the template fails, runs over a limit, or ``data`` cannot be encoded.
        """
        return await self._answer("jinja", source, data)

    async def render_go(self, source: str, request: GoRequest) -> str:
        """The prompt that a Go template makes of ``request``. Raises TemplateError as ``render`` does."""
        return await self._answer("go", source, request)

    async def inspect_go(self, source: str) -> GoFacts:
        """What a Go template uses. Raises TemplateError for a source that is none."""
        return msgspec.json.decode(await self._answer("inspect", source, {}), type=GoFacts)

    async def detect(self, source: str, *, bos_token: str = "", eos_token: str = "") -> Family | None:
        """The family whose prompts a Jinja template makes, None if there is none such.

        Raises TemplateError where the worker fails.
        """
        tokens = ProbeTokens(bos=bos_token, eos=eos_token)
        return msgspec.json.decode(await self._answer("detect", source, tokens), type=Family | None)

    async def close(self) -> None:
        """End the worker. A render that is under way finishes first, later ones are refused."""
        await self._worker.close()

    async def _answer(self, task: Task, source: str, data: object) -> str:
        try:
            body = await self._worker.ask(self._job(task, source, data))
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

    def _job(self, task: Task, source: str, data: object) -> bytes:
        try:
            encoded = msgspec.Raw(msgspec.json.encode(data))
            return encode_frame(Job(source=source, data=encoded, timeout_s=self._timeout_s, task=task))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise TemplateError(f"template data cannot be encoded: {error}") from None
