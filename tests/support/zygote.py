"""Processes for tests that kill them: each is forked off one that has its imports behind it, so that a round of such a
test costs milliseconds, and the kill falls on the work and not on the start of Python."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

TESTS = Path(__file__).parents[1]

# Forks for each line of standard input, in a process that has run ``work``'s source: the child calls work(argument).
# Says the child's process id, and when it has ended its status.
_MAIN = """
import json, os, sys, traceback
exec(compile(sys.argv[1], "<work>", "exec"))
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        os.dup2(2, 1)
        try:
            work(json.loads(line))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(pid, flush=True)
    print(os.waitpid(pid, 0)[1], flush=True)
"""


class Zygote:
    """``with Zygote(source) as zygote``: ``source`` imports what it needs and defines ``work(argument)``."""

    def __init__(self, source: str):
        command = [sys.executable, "-P", "-c", _MAIN, source]
        env = {**os.environ, "PYTHONPATH": str(TESTS)}
        self._process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._pid = 0

    def start(self, argument: Any) -> None:
        """Begin ``work(argument)`` in a process of its own; one at a time."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(argument).encode() + b"\n")
        self._process.stdin.flush()
        self._pid = self._number()

    def kill(self) -> None:
        """kill -9, unless it has ended. Fails if it ended with an error."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        status = self.wait()
        assert status in (0, -signal.SIGKILL), f"the work ended with {status}"

    def wait(self) -> int:
        """Until the process has ended: 0, 1 after an error, or the signal as a negative number."""
        return os.waitstatus_to_exitcode(self._number())

    def _number(self) -> int:
        assert self._process.stdout
        return int(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
