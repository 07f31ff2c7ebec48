"""What stands in the way of a request: tries what one would need, a model folder and a process. Knows no HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from pathlib import Path

from .manager import Manager

__all__ = ["Readiness"]

TRY_S = 5.0
KEEP_S = 2.0
NOTHING = (sys.executable, "-I", "-S", "-c", "")


class Readiness:
    """Of a server with its ``manager``, and the model folder ``root``. Made inside an event loop.

    What had to be tried is known for ``keep_s`` seconds, and tried once at a time: whoever asks a thousand times does
    not start a thousand processes. ``command`` is a process that ends well at once.
    """

    def __init__(
        self,
        manager: Manager,
        root: Path,
        *,
        command: tuple[str, ...] = NOTHING,
        try_s: float = TRY_S,
        keep_s: float = KEEP_S,
    ):
        self._manager, self._root = manager, root
        self._command, self._try_s, self._keep_s = command, try_s, keep_s
        self._one_by_one = asyncio.Lock()
        self._tried: list[str] = []
        self._tried_at = -keep_s
        self._listing: asyncio.Task[None] | None = None

    async def reasons(self) -> list[str]:
        """Empty where there are none."""
        found = []
        if self._manager.is_stopping:
            found.append("the server is stopping")
        if self._manager.n_pending >= self._manager.settings.max_queue:
            found.append("the queue is full")
        async with self._one_by_one:
            if time.monotonic() - self._tried_at >= self._keep_s:
                store, process = await asyncio.gather(self._try_store(), self._try_process())
                self._tried, self._tried_at = [*store, *process], time.monotonic()
        return found + self._tried

    async def _try_store(self) -> list[str]:
        """A folder on a network that is gone does not answer at all: then one thread waits for it, not many."""
        if self._listing is None:
            self._listing = asyncio.create_task(asyncio.to_thread(_list, self._root))
        done, _ = await asyncio.wait({self._listing}, timeout=self._try_s)
        if not done:
            return ["the model folder does not answer"]
        error, self._listing = self._listing.exception(), None
        return [f"the model folder cannot be read: {_reason(error)}"] if error else []

    async def _try_process(self) -> list[str]:
        """The system may be out of memory, of processes, of open files."""
        process = None
        try:
            async with asyncio.timeout(self._try_s):
                process = await asyncio.create_subprocess_exec(*self._command, stdin=asyncio.subprocess.DEVNULL)
                status = await process.wait()
        except TimeoutError:
            return ["a process takes too long to start"]
        except OSError as error:
            return [f"no process can be started: {_reason(error)}"]
        finally:
            if process is not None and process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        return [f"a process that was to do nothing ended with status {status}"] if status else []


def _list(root: Path) -> None:
    """Raises OSError. A folder that is not there yet will be made with the first model."""
    with contextlib.suppress(FileNotFoundError), os.scandir(root / "manifests") as entries:
        next(entries, None)


def _reason(error: BaseException) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number).lower() if number else type(error).__name__
