"""Several answers as one: in order, ended by the first error, and nothing left running."""

import asyncio
from contextlib import aclosing

import pytest

from gristmill.api.openai.choices import interleaved, joined
from gristmill.runtime.errors import GristmillError


class Source:
    """Lines that come when they are let through; an exception among them is raised."""

    def __init__(self, *lines):
        self.gate, self.closed = asyncio.Semaphore(0), False
        self.lines = self._lines(lines)

    async def _lines(self, lines):
        try:
            for line in lines:
                await self.gate.acquire()
                if isinstance(line, Exception):
                    raise line
                yield line
        finally:
            self.closed = True


def released(*sources):
    for source in sources:
        for _ in range(9):
            source.gate.release()
    return [source.lines for source in sources]


async def heard(lines):
    async with aclosing(interleaved(lines)) as found:
        return [item async for item in found]


async def test_lines_come_as_they_are_made():
    first, second = Source("a", "b"), Source("c")
    async with aclosing(interleaved([first.lines, second.lines])) as lines:
        for source, expected in ((second, (1, "c")), (first, (0, "a")), (first, (0, "b"))):
            source.gate.release()
            assert await anext(lines) == expected
        assert await anext(lines, None) is None
    assert first.closed
    assert second.closed


@pytest.mark.parametrize("n", [1, 2, 16])
async def test_every_line_comes_once_and_in_order(n):
    sources = [Source(*range(5)) for _ in range(n)]
    found = await heard(released(*sources))
    assert [[line for i, line in found if i == index] for index in range(n)] == [list(range(5))] * n


@pytest.mark.parametrize("n_others", [0, 2])
async def test_the_first_error_ends_all(n_others):
    others = [Source("a") for _ in range(n_others)]
    bad = Source("x", GristmillError("no more"))
    with pytest.raises(GristmillError, match="no more"):
        await heard([*(other.lines for other in others), *released(bad)])
    assert bad.closed
    assert len(asyncio.all_tasks()) == 1


async def test_who_leaves_closes_all():
    sources = [Source(*range(99)) for _ in range(3)]
    lines = interleaved(released(*sources))
    await anext(lines)
    await lines.aclose()
    assert all(source.closed for source in sources)
    assert len(asyncio.all_tasks()) == 1


async def test_a_slow_reader_holds_up_all():
    sources = [Source(*range(99)) for _ in range(2)]
    for source in sources:
        for _ in range(99):
            source.gate.release()
    async with aclosing(interleaved([source.lines for source in sources])) as lines:
        await anext(lines)
        for _ in range(50):
            await asyncio.sleep(0)
        taken = sum(99 - source.gate._value for source in sources)
        assert taken <= 1 + 2 + 2, "one read, two in the queue, one in the hand of each"


async def test_each_choice_is_joined_on_its_own():
    async def whole(lines):
        return {"text": "".join([line async for line in lines])}

    lines = released(Source("a", "b"), Source("c"))
    assert await joined(lines, whole) == [{"text": "ab"}, {"text": "c"}]
