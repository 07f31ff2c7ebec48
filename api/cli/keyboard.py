"""Keys that are typed while an answer streams: they wait for the next prompt, as if they had been typed there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from . import terminal


@contextmanager
def typed_ahead(keyboard: TextIO) -> Iterator[None]:
    """While the block runs, the terminal neither shows what is typed nor changes it; Ctrl+C still interrupts.

    A terminal as it usually is would put the keys into the answer, and turn Enter into a newline, which the prompt
    takes for Ctrl+J. Does nothing where there is no such terminal.
    """
    try:
        import termios
    except ImportError:  # Windows
        yield
        return
    if not terminal.is_terminal(keyboard):
        yield
        return
    try:
        before = termios.tcgetattr(keyboard)
    except (termios.error, OSError, ValueError):
        yield
        return
    mode = [*before]
    mode[0] &= ~termios.ICRNL
    mode[3] &= ~(termios.ICANON | termios.ECHO)
    termios.tcsetattr(keyboard, termios.TCSANOW, mode)
    try:
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSANOW, before)
