"""What the user sees on standard error while waiting: a spinner with a phase, or a bar.

On a terminal one line is redrawn ten times a second by a thread. Elsewhere a spinner is silent and a status is
printed once, as a plain line. Knows nothing about what is awaited.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

from . import human, terminal

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_INTERVAL_S = 0.1
_ERASE_LINE = "\r\x1b[K"
_MIN_BAR = 4
Poll = Callable[[], tuple[int, int] | None]


class Bar:
    """``pulling dde5aa3fc5ff:  42% ▕██████      ▏ 850 MB/2.0 GB   38 MB/s     30s``"""

    def __init__(self, message: str, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.message = message
        self.total = max(total, 1)
        self.completed = 0
        self._clock = clock
        self._start = clock()
        self._start_bytes: int | None = None

    def update(self, completed: int) -> None:
        """``completed`` bytes are done. The first report is where the rate is measured from."""
        if self._start_bytes is None:
            self._start_bytes = completed
        self.completed = min(completed, self.total)

    def line(self, columns: int) -> str:
        percent = self.completed * 100 // self.total
        left = f"{self.message}: {percent:3d}% ▕"
        right = f"▏ {self._figures()}"
        n = max(columns - len(left) - len(right), _MIN_BAR)
        full = n * self.completed // self.total
        return left + "█" * full + " " * (n - full) + right

    def _figures(self) -> str:
        total = f"{human.size(self.total):>6}"
        if self.completed == self.total:
            return total
        elapsed_s = self._clock() - self._start
        rate = (self.completed - (self._start_bytes or 0)) / elapsed_s if elapsed_s > 0 else 0.0
        speed = f"{human.size(int(rate))}/s" if rate else ""
        left = time_left((self.total - self.completed) / rate) if rate else ""
        return f"{human.size(self.completed):>6}/{total}{speed:>10}{left:>8}"


def time_left(seconds: float) -> str:
    """``30s``, ``1m30s``, ``2h5m``, at most ``99h+``."""
    minutes, s = divmod(int(seconds), 60)
    hours, m = divmod(minutes, 60)
    if hours >= 100:
        return "99h+"
    if hours:
        return f"{hours}h{m}m"
    return f"{m}m{s}s" if m else f"{s}s"


class Progress:
    """A context manager that shows one phase after another, each a spinner or a bar.

    ``keep`` leaves the line of a finished phase on the screen and, off a terminal, prints it once. ``poll`` is asked
    before each drawing on a terminal: (completed, total) bytes of the present phase, or None where it does not know.
    """

    def __init__(self, *, keep: bool = True, stream: TextIO | None = None, poll: Poll | None = None) -> None:
        self._stream = stream or sys.stderr
        self._keep = keep
        self._poll = poll
        self._live = terminal.is_terminal(self._stream)
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._status = ""
        self._bar: Bar | None = None
        self._frame = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def show(self, status: str, completed: int | None = None, total: int | None = None) -> None:
        """The phase ``status`` goes on, or begins. With ``total`` bytes it is a bar."""
        status = terminal.one_line(status)
        with self._lock:
            if status != self._status:
                self._finish()
                self._status = status
                if not self._live and self._keep:
                    print(status, file=self._stream, flush=True)
            if total and self._bar is None:
                self._bar = Bar(status, total)
            if self._bar is not None:
                self._bar.update(completed or 0)
        if self._live and self._thread is None:
            self._thread = threading.Thread(target=self._animate, daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Ends the last phase; the line is erased unless it is kept. Calling it again does nothing."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with self._lock:
            self._finish()

    def _finish(self) -> None:
        if self._status and self._live:
            line = (self._bar.line(terminal.width() - 1) if self._bar else self._status) + "\n"
            self._stream.write(_ERASE_LINE + (line if self._keep else ""))
            self._stream.flush()
        self._status, self._bar = "", None

    def _animate(self) -> None:
        while not self._stopped.is_set():
            status = self._status
            done = self._poll() if self._poll and status else None
            if done and status == self._status:  # polling takes a while: another phase may have begun
                self.show(status, *done)
            with self._lock:
                self._draw()
            self._stopped.wait(_INTERVAL_S)

    def _draw(self) -> None:
        if not self._status:
            return
        columns = terminal.width() - 1
        self._frame += 1
        spinner = f"{self._status[: columns - 2]} {_FRAMES[self._frame % len(_FRAMES)]}"
        self._stream.write(_ERASE_LINE + (self._bar.line(columns) if self._bar else spinner))
        self._stream.flush()


def spinner(phase: str, poll: Poll | None = None) -> Progress:
    """A spinner that leaves nothing behind: ``with spinner("loading model"): ...``; a bar once ``poll`` knows."""
    progress = Progress(keep=False, poll=poll)
    progress.show(phase)
    return progress
