"""Uploads whose client goes away: nothing is closed below a thread that still writes."""

import asyncio
import threading

import pytest

from gristmill.api.blobs import _to_its_end


async def test_who_leaves_waits_for_the_write_that_has_begun():
    begun, may_end, events = threading.Event(), threading.Event(), []

    def write():
        begun.set()
        may_end.wait(10)
        events.append("written")

    async def upload():
        try:
            await _to_its_end(write)
        finally:
            events.append("closed")

    task = asyncio.create_task(upload())
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    asyncio.get_running_loop().call_later(0.05, may_end.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert events == ["written", "closed"]
