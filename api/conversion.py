"""Has another process convert files: what is heavy, and imports torch, stays out of the server.

Blocks; a server calls it in a thread. Closing the generator ends the process.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Generator
from typing import TYPE_CHECKING

import msgspec

from gristmill.runtime.convert.jobs import Failure, Progress, Reply
from gristmill.runtime.errors import GristmillError, InvalidRequest, ModelError, named

if TYPE_CHECKING:
    from gristmill.runtime.convert.jobs import Job

__all__ = ["convert"]

_MODULE = "gristmill.runtime.convert.worker"


def convert(job: Job) -> Generator[Progress, None, None]:
    """Yields how far the job is. When it ends, the job's target is whole and synced.

    Raises InvalidRequest for files that cannot be converted, GristmillError where the process fails.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", _MODULE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C in a terminal is the server's to handle
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(msgspec.json.encode(job) + b"\n")
            process.stdin.flush()
        for line in process.stdout:
            reply = msgspec.json.decode(line, type=Reply)
            if isinstance(reply, Failure):
                error = named(reply.kind, reply.error)
                # What is wrong with a file is wrong with the request that sent it.
                raise InvalidRequest(reply.error) if isinstance(error, ModelError) else error
            yield reply
        if process.wait() != 0:
            raise GristmillError("the process that converts models ended unexpectedly; the server's log may say why")
    finally:
        process.kill()
        process.stdin.close()
        process.stdout.close()
        process.wait()
