"""Decodes pictures in a process of their own, within limits of time and memory. Imports no Pillow."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..errors import GristmillError, InvalidRequest
from ..killable.host import KillableProcess, NotStarted
from .wire import Answer, Job, Picture, Preparation, encode_frame

WORKER = "gristmill.runtime.images.worker"
MAX_PREPARED_BYTES = 192 << 20  # of a request's pixels: they go to the model in one message


class ImageDecoder:
    """``prepare`` for any number of tasks of one event loop, which take turns. ``close`` it at the end.

    ``timeout_s`` bounds one picture, ``memory_bytes`` the worker's address space.
    """

    def __init__(self, *, timeout_s: float = 10.0, memory_bytes: int = 2 << 30):
        self._timeout_s = timeout_s
        self._worker = KillableProcess(WORKER, "image decoder", timeout_s=timeout_s, memory_bytes=memory_bytes)

    async def prepare(self, files: Sequence[bytes], preparation: Preparation) -> list[Picture]:
        """Each of ``files`` as the model wants it, one after the other.

        Raises InvalidRequest, with the number of the image, for one that cannot be decoded or takes too much.
        """
        pictures: list[Picture] = []
        for i, data in enumerate(files):
            pictures.append(await self._prepare_one(i, data, preparation))
            if sum(len(picture.pixels) for picture in pictures) > MAX_PREPARED_BYTES:
                raise InvalidRequest(f"images: {len(files)} images have more pixels than one request may have")
        return pictures

    async def close(self) -> None:
        """End the worker. A picture that is under way is finished first, later ones are refused."""
        await self._worker.close()

    async def _prepare_one(self, i: int, data: bytes, preparation: Preparation) -> Picture:
        try:
            body = await self._worker.ask(
                encode_frame(Job(data=data, preparation=preparation, timeout_s=self._timeout_s))
            )
        except TimeoutError:
            raise InvalidRequest(f"images[{i}]: decoding takes more than {self._timeout_s:g} s") from None
        except (EOFError, OSError):
            raise InvalidRequest(f"images[{i}]: decoding failed, it may need too much memory") from None
        except NotStarted as error:
            raise GristmillError(str(error)) from None
        answer = msgspec.json.decode(body, type=Answer)
        if answer.picture is None:
            raise InvalidRequest(f"images[{i}]: {answer.error}")
        return answer.picture
