"""One load of a model: what the runner is told, and the requests that wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from gristmill.runtime.runner.messages import Load

from .errors import ServerBusy
from .loaded import Loaded
from .memory import Demand
from .options import LoadOptions
from .settings import Settings


@dataclass(frozen=True)
class Wanted:
    """The model that a request asks for."""

    path: Path
    name: str
    options: LoadOptions
    demand: Demand


@dataclass(frozen=True)
class Given:
    """A model with one user more, and how to take the user back."""

    model: Loaded
    release: Callable[[Loaded], None]


Turn = asyncio.Future[Given | None]


def load_message(model: Loaded, n_contexts: int, settings: Settings) -> Load:
    """What a runner is told; ``n_contexts`` is what its cache may hold of full contexts."""
    options = model.options
    return Load(
        path=str(model.path),
        num_ctx=options.num_ctx,
        n_slots=settings.n_slots,
        n_contexts=n_contexts,
        num_batch=options.num_batch,
        num_thread=options.num_thread,
        draft=options.draft,
        projector=options.projector,
        kv_type=settings.kv_cache_type,
        backend=settings.backend,
    )


class Loading:
    """Runs ``load`` in a task; ``on_end`` is called once, with the model or None, and answers those in ``waiting``.

    An error is everyone's. When all who waited have left, the load is cancelled.
    """

    def __init__(self, load: Callable[[], Awaitable[Loaded]], on_end: Callable[[Loading, Loaded | None], None]):
        self.waiting: list[tuple[LoadOptions, Turn]] = []
        self._on_end = on_end
        self._ended = False
        self._task = asyncio.create_task(self._run(load))

    async def join(self, options: LoadOptions) -> Loaded | None:
        """Wait for the end. The model with a user more, or None where it is not for a request with ``options``.

        Raises what loading raised, and ServerBusy where it was cancelled.
        """
        turn: Turn = asyncio.get_running_loop().create_future()
        self.waiting.append((options, turn))
        try:
            given = await turn
        except asyncio.CancelledError:
            await self._leave(options, turn)
            raise
        return None if given is None else given.model

    async def cancel(self) -> None:
        """End the load, and wait until what it took is given back."""
        self._end(None, ServerBusy("the server is stopping"))
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _leave(self, options: LoadOptions, turn: Turn) -> None:
        if not self._ended:
            self.waiting.remove((options, turn))
            if not self.waiting:
                await self.cancel()
        elif not turn.cancelled() and turn.exception() is None and (given := turn.result()) is not None:
            given.release(given.model)  # it came in the instant in which nobody wanted it any more

    async def _run(self, load: Callable[[], Awaitable[Loaded]]) -> None:
        try:
            self._end(await load())
        except Exception as error:
            self._end(None, error)

    def _end(self, model: Loaded | None, error: Exception | None = None) -> None:
        if self._ended:
            return
        self._ended = True
        self._on_end(self, model)
        for _, turn in self.waiting:
            if not turn.done() and error is not None:
                turn.set_exception(error)
