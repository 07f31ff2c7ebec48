"""The queue that each token goes through: nothing is lost, and the order stays."""

import asyncio

from gristmill.runtime.runner.mailbox import Mailbox


async def test_items_come_in_order_whether_they_are_waited_for_or_not():
    mailbox = Mailbox()
    mailbox.put(0)
    mailbox.put(1)
    assert [await mailbox.get(), await mailbox.get()] == [0, 1]
    reading = asyncio.create_task(mailbox.get())
    await asyncio.sleep(0)
    for item in (2, None, 3):
        mailbox.put(item)
    assert [await reading, await mailbox.get(), await mailbox.get()] == [2, None, 3]


async def test_a_reader_that_is_cancelled_takes_nothing_along():
    mailbox = Mailbox()
    for item in range(2):
        reading = asyncio.create_task(mailbox.get())
        await asyncio.sleep(0)
        if item:
            mailbox.put(item)  # it is awake, but has not read yet
        reading.cancel()
        await asyncio.wait([reading])
        assert reading.cancelled()
    assert await asyncio.wait_for(mailbox.get(), 10) == 1
