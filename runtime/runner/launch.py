"""Runner processes without a model: launching them, and keeping one ready.

A process imports torch before it is told what to load. That takes longer than opening a small model, so the server
keeps one spare process that has it behind it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from dataclasses import dataclass

from .link import Link, connect

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Launched:
    """A process that waits for ``Load``, and our end of its socket."""

    process: asyncio.subprocess.Process
    link: Link


async def launch() -> Launched:
    """Start a runner process. Raises OSError when the system has no room for one."""
    ours, theirs = socket.socketpair()
    with theirs:
        link = await connect(ours)
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gristmill.runtime.runner.process", str(theirs.fileno())),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl+C in the server's terminal is the server's to handle
            )
        except BaseException:
            link.close()
            raise
    return Launched(process, link)


async def end(process: asyncio.subprocess.Process, link: Link) -> None:
    """Kill a process, where it still lives, and wait until its memory is free."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await process.wait()
    link.close()


class Launcher:
    """Launches processes, and keeps one more of them ready than are in use.

    The next spare is launched ``delay_s`` seconds after the last was taken, which leaves the processor to the
    model that is being loaded and to its first answers. ``keep_spare`` False launches every process when it is
    needed. Made inside an event loop.
    """

    def __init__(self, *, keep_spare: bool = True, delay_s: float = 3.0):
        self._keep_spare, self._delay_s = keep_spare, delay_s
        self._spare: Launched | None = None
        self._preparing: asyncio.Task[None] | None = None
        self._one_by_one = asyncio.Lock()
        self._prepare(0.0)

    async def take(self) -> Launched:
        """The spare process, or a new one where there is none. Raises OSError as ``launch`` does."""
        async with self._one_by_one:
            await self._stop_preparing()
            spare, self._spare = self._spare, None
            self._prepare(self._delay_s)
        if spare is None:
            return await launch()
        if spare.process.returncode is None:
            return spare
        spare.link.close()
        return await launch()

    async def close(self) -> None:
        """End the spare process; those that were taken go on."""
        self._keep_spare = False
        async with self._one_by_one:
            await self._stop_preparing()
        if self._spare is not None:
            await end(self._spare.process, self._spare.link)

    def _prepare(self, delay_s: float) -> None:
        if self._keep_spare:
            self._preparing = asyncio.create_task(self._launch_spare(delay_s))

    async def _stop_preparing(self) -> None:
        if self._preparing is not None:
            self._preparing.cancel()
            await asyncio.gather(self._preparing, return_exceptions=True)

    async def _launch_spare(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        try:
            self._spare = await launch()
        except OSError as error:
            log.warning("no spare runner process: %s", error)
