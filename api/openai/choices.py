"""Several native answers as one: their lines as they come, each with the number of its choice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing

from ..answer import Line
from ..stream import Lines

__all__ = ["interleaved", "joined"]

_Item = tuple[int, Line | Exception | None]


async def interleaved(sources: Sequence[Lines]) -> AsyncGenerator[tuple[int, Line], None]:
    """(choice, line) in the order in which lines come; a choice's own lines stay in order.

    The first error of any ends all and is raised. All ``sources`` are closed at the end, however it ends.
    """
    if len(sources) == 1:  # no task and no queue stand between most answers and their clients
        async with aclosing(sources[0]) as lines:
            async for line in lines:
                yield 0, line
        return
    queue: asyncio.Queue[_Item] = asyncio.Queue(len(sources))  # a slow client slows all of them
    tasks = [asyncio.create_task(_read(queue, index, lines)) for index, lines in enumerate(sources)]
    try:
        n_open = len(sources)
        while n_open:
            index, item = await queue.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                n_open -= 1
            else:
                yield index, item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(queue: asyncio.Queue[_Item], index: int, lines: Lines) -> None:
    """Lines of one choice into the ``queue``, then its error or None."""
    try:
        async with aclosing(lines):
            async for line in lines:
                await queue.put((index, line))
    except Exception as error:
        await queue.put((index, error))
        return
    await queue.put((index, None))


async def joined(sources: Sequence[Lines], whole: Callable[[Lines], Awaitable[Line]]) -> list[Line]:
    """Of each choice one line, which ``whole`` makes of all its lines. Raises as ``interleaved`` does."""
    heard: list[list[Line]] = [[] for _ in sources]
    async with aclosing(interleaved(sources)) as lines:
        async for index, line in lines:
            heard[index].append(line)
    return [await whole(_again(lines)) for lines in heard]


async def _again(lines: list[Line]) -> Lines:
    for line in lines:
        yield line
