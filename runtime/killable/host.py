"""The side that asks: starts the process when it is needed, and kills it when it is late."""

from __future__ import annotations

import asyncio
import contextlib
import sys

import msgspec

from .frames import LENGTH, Ready

START_TIMEOUT_S = 30.0

Process = asyncio.subprocess.Process


class NotStarted(Exception):
    """The process could not be started, or the host is closed; the message says which."""


class KillableProcess:
    """``python -m module MEMORY_BYTES``, one job at a time, for any number of tasks of one event loop.

    A job that runs too long, takes too much memory or brings the process down costs that one job: the next one gets
    a fresh process. ``close`` it at the end. ``what`` names it in messages.
    """

    def __init__(self, module: str, what: str, *, timeout_s: float, memory_bytes: int):
        self._module, self._what = module, what
        self._timeout_s, self._memory_bytes = timeout_s, memory_bytes
        self._turn = asyncio.Lock()
        self.process: Process | None = None
        self._closed = False

    async def prewarm(self) -> None:
        """Start the process now, so that the first job need not wait for it. Raises NotStarted."""
        async with self._turn:
            await self._started()

    async def ask(self, frame: bytes) -> bytes:
        """The body of the answer to ``frame``.

        Raises TimeoutError for a job that ran too long, EOFError or OSError for one that ended its process, and
        NotStarted.
        """
        async with self._turn:
            process = await self._started()
            try:
                return await asyncio.wait_for(_ask(process, frame), self._timeout_s)
            except BaseException:  # cancelled, too: an answer still to come would be taken for the next job's
                await self._kill()
                raise

    async def close(self) -> None:
        """End the process. A job that is under way finishes first, later ones are refused."""
        self._closed = True
        async with self._turn:
            await self._kill()

    async def _started(self) -> Process:
        if self._closed:
            raise NotStarted(f"{self._what} is closed")
        if self.process is not None and self.process.returncode is None:
            return self.process
        await self._kill()  # one that died between jobs
        try:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", self._module, str(self._memory_bytes)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,  # Ctrl-C in a terminal is the server's to handle
            )
            body = await asyncio.wait_for(_read_frame(self.process), START_TIMEOUT_S)
            msgspec.json.decode(body, type=Ready)
        except (EOFError, OSError, TimeoutError):
            await self._kill()
            raise NotStarted(f"{self._what} did not start, see the server's log") from None
        except BaseException:
            await self._kill()
            raise
        return self.process

    async def _kill(self) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await asyncio.shield(process.communicate())  # reaps it and closes the pipes


async def _ask(process: Process, frame: bytes) -> bytes:
    assert process.stdin is not None
    process.stdin.write(frame)
    await process.stdin.drain()
    return await _read_frame(process)


async def _read_frame(process: Process) -> bytes:
    assert process.stdout is not None
    (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
    return await process.stdout.readexactly(length)
