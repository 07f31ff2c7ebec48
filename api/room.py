"""What a new model may take of the machine, and which models go to make room for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from gristmill.runtime.errors import OutOfMemory

from .loaded import Loaded
from .memory import Demand

GIB = 1 << 30


class Room:
    """For at most ``limit`` of ``models``, whose caches hold up to ``n_contexts`` full contexts.

    ``available`` says how many bytes of memory are free, None where nobody knows. ``give_up`` unloads a model, or waits
    for a change where it is given none.
    """

    def __init__(
        self,
        models: Mapping[Path, Loaded],
        limit: int,
        n_contexts: int,
        available: Callable[[], int | None],
        give_up: Callable[[Loaded | None], Awaitable[None]],
    ):
        self._models, self._limit, self._n_contexts = models, limit, n_contexts
        self._available, self._give_up = available, give_up

    async def make(self, demand: Demand, num_ctx: int) -> int:
        """How many contexts the new model's cache may hold. Unloads others until there is room for one at least.

        Raises OutOfMemory where it would not fit even alone, and then nothing is unloaded.
        """
        while True:
            n_contexts = self._contexts(demand, num_ctx)
            if n_contexts and len(self._models) < self._limit:
                return n_contexts
            await self._give_up(self._victim())

    def _contexts(self, demand: Demand, num_ctx: int) -> int:
        """Contexts that fit now: all, a half, a quarter; 0 where not even one does."""
        available = self._available()
        if available is None:
            return self._n_contexts
        models = self._models.values()
        self._check(demand.total(num_ctx), available + sum(model.bytes_held for model in models))
        free = available - sum(model.bytes_to_come for model in models)
        n_contexts = self._n_contexts
        while n_contexts and demand.total(n_contexts * num_ctx) > free:
            n_contexts //= 2
        return n_contexts

    def _check(self, needed: int, there: int) -> None:
        if needed > there:
            raise OutOfMemory(
                f"model requires more system memory ({needed / GIB:.1f} GiB) than is available "
                f"({there / GIB:.1f} GiB); lower num_ctx or use a smaller model"
            )

    def _victim(self) -> Loaded | None:
        """The next to go: what is ending anyway, what is dead, what is idle, what is kept for the shortest time.

        None while all are being loaded.
        """

        def order(model: Loaded) -> tuple[bool, bool, bool, float, str]:
            return model.closing is None, model.alive, model.n_users > 0, model.keep_alive_s, str(model.path)

        return min((model for model in self._models.values() if model.runner is not None), key=order, default=None)
