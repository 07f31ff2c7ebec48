"""The ``gristmill`` command. A client of the HTTP API, except for ``serve``.

Every error is one line, ``Error: <text>``, on standard error, and exit status 1. Importing this module, and
running a client command, imports neither torch nor numpy nor a web framework.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from gristmill.runtime.errors import GristmillError

__all__ = ["main"]

_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line (``sys.argv`` by default); returns the exit status and never raises."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot show a character must not stop an answer
            stream.reconfigure(errors="replace")
    try:
        status = _dispatch(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # whoever read our output has enough; nothing more can be said, at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if not isinstance(error, GristmillError) and _wants_traceback():
            raise
        print(f"Error: {_text_of(error)}", file=sys.stderr)
        return 1


def _dispatch(argv: list[str]) -> int:
    from . import args

    if not argv or argv[0] in ("-h", "--help") or argv == ["help"]:
        return _print(args.usage())
    if argv[0] in ("-v", "--version"):
        return _function("models:version")(None)
    if argv[0] == "help":
        return _print(args.find_command(argv[1]).help())
    command = args.find_command(argv[0])
    arguments = command.parse(argv[1:])
    if arguments.help:
        return _print(command.help())
    return _function(command.function)(arguments)


def _print(text: str) -> int:
    sys.stdout.write(text)
    return 0


def _function(path: str) -> Callable[[object], int]:
    module, _, name = path.partition(":")
    function: Callable[[object], int] = getattr(import_module(f".{module}", __name__), name)
    return function


def _text_of(error: Exception) -> str:
    """What went wrong, in one line; an error that is not ours is named with its type."""
    from .terminal import one_line

    if isinstance(error, GristmillError):
        text = str(error)
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    else:
        text = f"{type(error).__name__}: {error} (set OLLAMA_DEBUG=1 to see where)"
    return one_line(text)


def _wants_traceback() -> bool:
    """OLLAMA_DEBUG is set: the one case in which a traceback is shown, because it was asked for."""
    return os.environ.get("OLLAMA_DEBUG", "").strip().lower() not in ("", "0", "f", "false")
