"""A model with a runner, or one on its way to it; and the places in it that requests wait for."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path

from gristmill.runtime.runner.client import Runner
from gristmill.runtime.runner.messages import Progress

from .options import LoadOptions


class Places:
    """``n`` requests work at once. Those that wait take turns by client, and of each client in order of arrival.

    So one client that sends a hundred requests holds up another one's first by no more than one.
    """

    def __init__(self, n: int):
        self.n, self.n_free = n, n
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def n_waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    async def acquire(self, client: str) -> None:
        """Returns when there is a place. Cancelling gives the turn to the next one."""
        if self.n_free:  # then nobody waits
            self.n_free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()
            else:
                self._leave(client, turn)
            raise

    def release(self) -> None:
        """A place is free: for the next client's oldest request, if any waits."""
        while self._waiting:
            client, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self._waiting[client] = turns
            if not turn.done():  # else it is leaving
                turn.set_result(None)
                return
        self.n_free += 1

    def _leave(self, client: str, turn: asyncio.Future[None]) -> None:
        turns = self._waiting.get(client, deque())
        if turn in turns:
            turns.remove(turn)
            if not turns:
                del self._waiting[client]


@dataclass(eq=False)
class Loaded:
    """``runner`` is None while the model is being loaded; then ``progress`` counts the bytes of its weights.

    ``name`` is the one it was loaded by; ``names`` are those of all models that it has served, one for each variant.
    ``n_users`` are requests that run or wait for one of the ``places``. ``expires_at`` is monotonic, None while
    there are any. ``n_bytes`` is the memory it was predicted to need. ``loader`` is the task that loads it. It takes no
    new requests while ``n_closers`` want it to become idle, so as to unload it, and once ``closing`` has begun that.
    """

    path: Path
    name: str
    options: LoadOptions
    keep_alive_s: float
    places: Places
    n_bytes: int = 0
    runner: Runner | None = None
    progress: Progress | None = None
    names: dict[Hashable, str] = field(default_factory=dict)
    n_users: int = 0
    n_closers: int = 0
    loader: asyncio.Task[object] | None = None
    closing: asyncio.Task[None] | None = None
    expires_at: float | None = None
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.idle.set()

    @property
    def alive(self) -> bool:
        return self.runner is not None and self.runner.alive

    @property
    def usable(self) -> bool:
        return self.alive and not self.unloading

    @property
    def unloading(self) -> bool:
        return self.n_closers > 0 or self.closing is not None

    @property
    def bytes_held(self) -> int:
        """Memory that comes back when it ends; at most, while it is being loaded."""
        if self.runner is None:
            return self.n_bytes
        return self.runner.memory_bytes if self.runner.alive else 0

    @property
    def bytes_to_come(self) -> int:
        """Predicted memory that it has not yet taken."""
        if self.runner is None:
            return self.n_bytes
        ends = self.closing is not None or not self.runner.alive
        return 0 if ends else max(0, self.n_bytes - self.runner.memory_bytes)
