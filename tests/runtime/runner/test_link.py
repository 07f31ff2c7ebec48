"""The server's end of a runner's socket: whole messages in order, one end, whatever the pieces that bytes come in."""

import asyncio
import socket

import pytest

from gristmill.runtime.events import Piece
from gristmill.runtime.runner.link import connect
from gristmill.runtime.runner.messages import MAX_FRAME_BYTES, Stats, Unload, encode_frame

MESSAGES = [Piece(id=i, text="x" * i, tokens=[i]) for i in range(20)] + [Stats(memory_bytes=5)]


class Heard:
    """What a link has told."""

    def __init__(self):
        self.messages, self.n_ends, self.ended = [], 0, asyncio.Event()

    def end(self):
        self.n_ends += 1
        self.ended.set()


@pytest.fixture
async def ends():
    """A link, and the other end of its socket."""
    ours, theirs = socket.socketpair()
    link = await connect(ours)
    yield link, theirs
    link.close()
    theirs.close()
    await asyncio.sleep(0)


@pytest.mark.parametrize("size", [1, 3, 7, 64, 1 << 20])
async def test_messages_come_whole_and_in_order_however_the_bytes_are_cut(ends, size):
    link, theirs = ends
    heard = Heard()
    link.listen(heard.messages.append, heard.end)
    data = encode_frame(MESSAGES[:1]) + encode_frame(MESSAGES[1:]) + encode_frame([])
    for at in range(0, len(data), size):
        theirs.sendall(data[at : at + size])
        await asyncio.sleep(0)
    theirs.close()
    await asyncio.wait_for(heard.ended.wait(), 30)
    assert heard.messages == MESSAGES
    assert heard.n_ends == 1


@pytest.mark.parametrize(
    "nonsense",
    [encode_frame([Unload()]), b"\x03\0\0\0abc", (MAX_FRAME_BYTES + 1).to_bytes(4, "little")],
    ids=["no message of a runner", "no msgpack", "too long"],
)
async def test_nonsense_is_the_end(ends, nonsense):
    link, theirs = ends
    heard = Heard()
    link.listen(heard.messages.append, heard.end)
    theirs.sendall(encode_frame(MESSAGES[:1]) + nonsense + encode_frame(MESSAGES[1:]))
    await asyncio.wait_for(heard.ended.wait(), 30)
    assert heard.messages == MESSAGES[:1]
    assert (heard.n_ends, link.is_closing) == (1, True)


async def test_who_listens_late_is_told_of_the_end(ends):
    link, theirs = ends
    early, heard = Heard(), Heard()
    link.listen(early.messages.append, early.end)
    theirs.close()
    await asyncio.wait_for(early.ended.wait(), 30)
    link.listen(heard.messages.append, heard.end)
    assert heard.n_ends == 1


async def test_what_is_sent_arrives_as_a_frame(ends):
    link, theirs = ends
    link.send(Unload())
    assert theirs.recv(1 << 10) == encode_frame(Unload())
