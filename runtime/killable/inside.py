"""What a process that may be killed does for itself: limits of memory and time, and serving jobs."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator

import msgspec

from .frames import Ready, encode_frame, read_frame

# The host kills a late process. This is for one whose host has gone: it ends by itself a little later.
GRACE_S = 1.0


def run(main: Callable[[int], None]) -> None:
    """``main(memory_bytes)`` with the limit that the host put on the command line."""
    try:
        main(int(sys.argv[1]))
    except (MemoryError, BrokenPipeError):  # the host sees the pipe end, or is gone
        os._exit(1)


def serve(answer: Callable[[bytes], msgspec.Struct]) -> None:
    """Answers jobs from standard input on standard output, until that ends."""
    output = sys.stdout.buffer
    output.write(encode_frame(Ready()))
    output.flush()
    while (body := read_frame(sys.stdin.buffer)) is not None:
        output.write(encode_frame(answer(body)))
        output.flush()


def limit_resources(memory_bytes: int) -> None:
    """No more than ``memory_bytes`` of address space, no files written, no core dumps."""
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
def deadline(timeout_s: float) -> Iterator[None]:
    """Ends the process (SIGALRM, no handler) unless the body is done in time and a little more."""
    if not hasattr(signal, "setitimer"):
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, timeout_s + GRACE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
