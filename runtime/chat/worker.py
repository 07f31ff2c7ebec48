"""The process that templates are rendered in: ``python -m gristmill.runtime.chat.worker MEMORY_BYTES``.

Reads jobs from standard input until that ends, writes answers to standard output. It may be killed at any time,
and a template may make it die. Starts quickly: it imports Jinja and msgspec, no torch, numpy or aiohttp.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
from collections.abc import Iterator

import msgspec

from ..errors import TemplateError
from .jinja import JinjaTemplate
from .wire import Answer, Job, Ready, encode_frame, read_frame

N_COMPILED = 32
# The parent kills a late worker. This is for a worker whose parent has gone: it ends by itself a little later.
GRACE_S = 1.0


def main(memory_bytes: int) -> None:
    """Serves jobs until standard input ends."""
    _limit_resources(memory_bytes)
    output = sys.stdout.buffer
    compiled = functools.lru_cache(N_COMPILED)(JinjaTemplate)
    jobs = msgspec.json.Decoder(Job)
    output.write(encode_frame(Ready()))
    output.flush()
    while (body := read_frame(sys.stdin.buffer)) is not None:
        job = jobs.decode(body)
        with _deadline(job.timeout_s + GRACE_S):
            try:
                answer = Answer(text=compiled(job.source).render_json(job.data))
            except TemplateError as error:
                answer = Answer(error=str(error))
            frame = encode_frame(answer)
        output.write(frame)
        output.flush()


def _limit_resources(memory_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = {resource.RLIMIT_AS: memory_bytes, resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0}
    for name, limit in limits.items():
        _, hard = resource.getrlimit(name)
        with contextlib.suppress(ValueError, OSError):  # a system may know a limit and not keep it
            resource.setrlimit(name, (limit, hard))


@contextlib.contextmanager
def _deadline(timeout_s: float) -> Iterator[None]:
    """Ends the process (SIGALRM, no handler) unless the body is done in time."""
    if not hasattr(signal, "setitimer"):
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]))
    except (MemoryError, BrokenPipeError):  # the parent sees the pipe end, or is gone
        os._exit(1)
