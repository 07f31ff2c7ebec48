"""The converter forked instead of started: the same program in a process of its own, without seconds of imports."""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import Any, NoReturn

from gristmill.runtime.convert import worker


def _run(source: int, target: int) -> NoReturn:
    """Nothing gets out of here: what called is another process's."""
    status = 1
    try:
        os.dup2(source, 0)
        os.dup2(target, 1)
        os.closerange(3, 1024)
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0)))
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w")))
        status = worker.main()
    finally:
        os._exit(status)


class ForkedConverter:
    """What ``gristmill.api.conversion`` uses of ``subprocess.Popen``. The child keeps no file of ours open."""

    def __init__(self, *_: Any, **__: Any):
        their_in, our_out = os.pipe()
        our_in, their_out = os.pipe()
        self._pid, self._status = os.fork(), None
        if self._pid == 0:
            _run(their_in, their_out)
        os.close(their_in)
        os.close(their_out)
        self.stdin = io.FileIO(our_out, "wb")
        self.stdout = io.BufferedReader(io.FileIO(our_in))

    def wait(self) -> int:
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return self._status

    def kill(self) -> None:
        if self._status is None:
            os.kill(self._pid, signal.SIGKILL)
