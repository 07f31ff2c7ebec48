"""Pictures in requests: read from base64, checked, and given their places in texts. Knows no pixels.

A place is marked ``[img-N]``, counted over the whole request. Rules are Ollama's.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from gristmill.runtime.errors import InvalidRequest
from gristmill.runtime.images.formats import MAX_IMAGES, kind_of
from gristmill.runtime.vision.marks import MARK, mark

from .errors import shown
from .service import Target

IMAGE_TOKENS = 768  # what a picture counts where a conversation is shortened
_ANYWHERE = "[img]"  # how a text asks for a picture's place
_BASE64 = re.compile(r"[A-Za-z0-9+/\r\n]*")
_AT_ONCE = 64 << 10  # characters that are decoded while nobody else can work


async def read_pictures(images: Sequence[str], target: Target) -> list[bytes]:
    """The files that ``images`` are in base64.

    Raises InvalidRequest where the model cannot look at any, for too many or too large ones, for what is no base64 and
    for what is no picture.
    """
    if not images:
        return []
    if target.model.projector_path is None:
        raise InvalidRequest(f'images: "{shown(target.sent)}" does not support images, it has no projector')
    if len(images) > MAX_IMAGES:
        raise InvalidRequest(f"images: {len(images)} images are over the limit of {MAX_IMAGES}")
    if sum(map(len, images)) <= _AT_ONCE:
        return _files(images)
    return await asyncio.to_thread(_files, images)


def _files(images: Sequence[str]) -> list[bytes]:
    files = [base64_bytes(text) for text in images]
    for i, data in enumerate(files):
        try:
            kind_of(data)
        except InvalidRequest as error:
            raise InvalidRequest(f"images[{i}]: {error}") from None
    return files


def base64_bytes(text: str) -> bytes:
    """``text`` of the standard alphabet with its padding; line ends may be inside. Raises InvalidRequest."""
    try:
        return base64.b64decode(text.replace("\r", "").replace("\n", ""), validate=True)
    except ValueError:
        good = _BASE64.match(text)
        raise InvalidRequest(f"illegal base64 data at input byte {good.end() if good else 0}") from None


def marked(text: str, numbers: Sequence[int]) -> str:
    """``text`` with the marks of these pictures: each where it says ``[img]`` next, else in front."""
    front = ""
    for n in numbers:
        if _ANYWHERE in text:
            text = text.replace(_ANYWHERE, mark(n), 1)
        else:
            front += mark(n)
    return front + text


def marked_messages(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages with marks in their texts, and in place of the pictures."""
    numbers = count()
    return [_marked_message(message, numbers) for message in messages]


def _marked_message(message: dict[str, Any], numbers: Iterator[int]) -> dict[str, Any]:
    images = message.get("images")
    if not images:
        return message
    own = [next(numbers) for _ in images]
    return {**message, "content": marked(message["content"], own), "images": [mark(n) for n in own]}


def check_places(prompt: str, n_pictures: int) -> None:
    """Raises InvalidRequest where one of a request's pictures has no place in its prompt."""
    placed = {int(number) for number in MARK.findall(prompt)}
    lost = [n for n in range(n_pictures) if n not in placed]
    if lost:
        raise InvalidRequest(f"images[{lost[0]}]: no place in the prompt; write {mark(lost[0])} where it belongs")


def picture_tokens(prompt: str, n_pictures: int) -> int:
    """What the pictures in ``prompt`` count, roughly: how many tokens they are is the model's business."""
    return IMAGE_TOKENS * sum(int(number) < n_pictures for number in MARK.findall(prompt))
