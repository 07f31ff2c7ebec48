"""What the engine says about a request: any number of ``Piece``, then exactly one ``Finished`` or ``Failed``."""

from __future__ import annotations

from typing import Literal

import msgspec

from .params import Usage

FinishReason = Literal["stop", "length", "abort"]


class Piece(msgspec.Struct, frozen=True, kw_only=True, tag="piece"):
    """Newly generated text, whole characters only; ``tokens`` are the ids behind it (text can lag behind ids)."""

    id: int
    text: str
    tokens: list[int]


class Finished(msgspec.Struct, frozen=True, kw_only=True, tag="finished"):
    """A request ended well. ``prompt_ids`` are the prompt's tokens (for the ``context`` of generate)."""

    id: int
    reason: FinishReason
    usage: Usage
    prompt_ids: list[int]


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """A request failed. ``invalid`` means that the caller's input was wrong (a 4xx), else it is our fault."""

    id: int
    error: str
    invalid: bool = False


Event = Piece | Finished | Failed
