"""The server's end of a runner's socket: messages go out and come in without a task of their own. Knows no meanings."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import msgspec

from .messages import HEADER_BYTES, FromRunner, ToRunner, encode_frame, frame_length

__all__ = ["Link", "connect"]

OnMessage = Callable[[FromRunner], None]


async def connect(sock: socket.socket) -> Link:
    """The link over ``sock``, which it owns from now on."""
    _, link = await asyncio.get_running_loop().create_connection(Link, sock=sock)
    return link


class Link(asyncio.Protocol):
    """Made by ``connect``, and listened to from ``listen`` on: a process that was told nothing says nothing."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._decoder = msgspec.msgpack.Decoder(list[FromRunner])
        self._waiting = bytearray()  # the beginning of a message
        self._on_message: OnMessage = lambda message: None
        self._on_end: Callable[[], None] = lambda: None
        self._ended = False
        self.heard_at = self._loop.time()

    def listen(self, on_message: OnMessage, on_end: Callable[[], None]) -> None:
        """Each message is given to ``on_message`` as soon as it is whole; ``on_end`` is called once, after the last.

        The end is that of the process, or that it talks nonsense, which is its end for us.
        """
        self._on_message, self._on_end = on_message, on_end
        if self._ended:
            on_end()

    def send(self, message: ToRunner) -> None:
        """Does not wait. What is sent to a process that has ended is lost."""
        self._transport.write(encode_frame(message))

    @property
    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        """The process sees the end of its input."""
        self._transport.close()

    # -- what the event loop calls -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard_at = self._loop.time()
        try:
            self._waiting += data
            self._take_whole_frames()
        except (msgspec.DecodeError, ValueError):
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._ended = True
        self._on_end()

    def _take_whole_frames(self) -> None:
        waiting, at = self._waiting, 0
        while len(waiting) - at >= HEADER_BYTES:
            start = at + HEADER_BYTES
            end = start + frame_length(bytes(waiting[at:start]))
            if end > len(waiting):
                break
            for message in self._decoder.decode(bytes(waiting[start:end])):
                self._on_message(message)
            at = end
        del waiting[:at]
