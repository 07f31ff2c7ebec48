"""Renders templates in a process of their own, within limits of time and memory.

One worker process serves one render at a time. A template that runs too long, takes too much memory or brings
its process down costs that one render: the next one gets a fresh worker. Knows nothing of what templates say.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from ..errors import TemplateError
from .wire import LENGTH, Answer, Job, Ready, encode_frame

START_TIMEOUT_S = 30.0
WORKER = "gristmill.runtime.chat.worker"

Process = asyncio.subprocess.Process


class Renderer:
    """``render`` for any number of tasks of one event loop, which take turns. ``close`` it at the end.

    ``timeout_s`` bounds one render, ``memory_bytes`` the worker's address space (where the system can do that).
    """

    def __init__(self, *, timeout_s: float = 2.0, memory_bytes: int = 1 << 30):
        self._timeout_s = timeout_s
        self._memory_bytes = memory_bytes
        self._turn = asyncio.Lock()
        self._worker: Process | None = None
        self._closed = False

    async def prewarm(self) -> None:
        """Start the worker now, so that the first render need not wait for it."""
        async with self._turn:
            await self._started()

    async def render(self, source: str, data: Mapping[str, Any]) -> str:
        """The template's text for ``data`` (JSON-shaped).

        Raises TemplateError if the template fails, runs over a limit, or ``data`` cannot be encoded.
        """
        frame = self._job(source, data)
        async with self._turn:
            worker = await self._started()
            try:
                answer = await asyncio.wait_for(_ask(worker, frame), self._timeout_s)
            except TimeoutError:
                await self._kill()
                raise TemplateError(f"template ran longer than {self._timeout_s:g} s") from None
            except (EOFError, OSError):
                await self._kill()
                raise TemplateError("template ended its worker process, it may need too much memory") from None
            except BaseException:  # cancelled: an answer still to come would be taken for the next render's
                await self._kill()
                raise
        if answer.error is not None:
            raise TemplateError(answer.error)
        return answer.text

    async def close(self) -> None:
        """End the worker. A render that is under way finishes first, later ones are refused."""
        self._closed = True
        async with self._turn:
            await self._kill()

    def _job(self, source: str, data: Mapping[str, Any]) -> bytes:
        try:
            encoded = msgspec.json.encode(data)
            return encode_frame(Job(source=source, data=msgspec.Raw(encoded), timeout_s=self._timeout_s))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise TemplateError(f"template data cannot be encoded: {error}") from None

    async def _started(self) -> Process:
        if self._closed:
            raise TemplateError("template renderer is closed")
        if self._worker is not None and self._worker.returncode is None:
            return self._worker
        await self._kill()  # one that died between renders
        try:
            self._worker = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", WORKER, str(self._memory_bytes)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,  # Ctrl-C in a terminal is the server's to handle
            )
            body = await asyncio.wait_for(_read_frame(self._worker), START_TIMEOUT_S)
            msgspec.json.decode(body, type=Ready)
        except (EOFError, OSError, TimeoutError):
            await self._kill()
            raise TemplateError("template worker process did not start, see the server's log") from None
        except BaseException:
            await self._kill()
            raise
        return self._worker

    async def _kill(self) -> None:
        worker, self._worker = self._worker, None
        if worker is None:
            return
        with contextlib.suppress(ProcessLookupError):
            worker.kill()
        await asyncio.shield(worker.communicate())  # reaps it and closes the pipes


async def _ask(worker: Process, frame: bytes) -> Answer:
    assert worker.stdin is not None
    worker.stdin.write(frame)
    await worker.stdin.drain()
    return msgspec.json.decode(await _read_frame(worker), type=Answer)


async def _read_frame(worker: Process) -> bytes:
    assert worker.stdout is not None
    (length,) = LENGTH.unpack(await worker.stdout.readexactly(LENGTH.size))
    return await worker.stdout.readexactly(length)
