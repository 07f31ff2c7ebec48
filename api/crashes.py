"""How often the runners of each model have died: one that crashes again and again is not started for ever."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path

from gristmill.runtime.errors import RunnerError

RESTARTS_PER_MINUTE = 3


class Crashes:
    """By model. A crash counts for a minute, wherever in a runner's life it came."""

    def __init__(self) -> None:
        self._times: dict[Path, deque[float]] = {}

    def note(self, path: Path) -> None:
        self._times.setdefault(path, deque(maxlen=RESTARTS_PER_MINUTE + 1)).append(time.monotonic())

    def check(self, path: Path) -> None:
        """Raises RunnerError where the model is not to be started now."""
        times = self._times.get(path, deque())
        if len(times) > RESTARTS_PER_MINUTE and time.monotonic() - times[0] < 60:
            raise RunnerError("model runner has stopped several times within a minute, try again later")
