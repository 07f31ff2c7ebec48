"""What the engine says about a request: ``Reading`` and ``Piece``s, then exactly one ``Finished`` or ``Failed``."""

from __future__ import annotations

from typing import Literal

import msgspec

from .params import Usage

FinishReason = Literal["stop", "length", "abort"]


class TokenLogprob(msgspec.Struct, frozen=True, kw_only=True):
    """Log-probability (natural, of the softmax of the model's own logits) of token ``id``, which stands for ``data``.

    ``top`` are the likeliest tokens at its place, best first, where they were asked for.
    """

    id: int
    data: bytes
    logprob: float
    top: list[TokenLogprob] = []


class Piece(msgspec.Struct, frozen=True, kw_only=True, tag="piece"):
    """Newly generated text, whole characters only; ``tokens`` are the ids behind it (text can lag behind ids).

    ``logprobs``, one for each token, where they were asked for.
    """

    id: int
    text: str
    tokens: list[int]
    logprobs: list[TokenLogprob] = []


class Reading(msgspec.Struct, frozen=True, kw_only=True, tag="reading"):
    """Where it was asked for: ``done`` of the prompt's ``total`` tokens are computed, before the first ``Piece``."""

    id: int
    done: int
    total: int


class Finished(msgspec.Struct, frozen=True, kw_only=True, tag="finished"):
    """A request ended well. ``prompt_ids`` are the prompt's tokens (for the ``context`` of generate)."""

    id: int
    reason: FinishReason
    usage: Usage
    prompt_ids: list[int]


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """A request failed. ``kind`` is the error's class: for an ``InvalidRequest`` the caller's input was wrong."""

    id: int
    error: str
    kind: str = "GristmillError"


Event = Piece | Reading | Finished | Failed


class EngineStats(msgspec.Struct, frozen=True, kw_only=True):
    """The engine's state between two steps. Counters since the start are of tokens, steps, pages and sequences."""

    running: int = 0
    waiting: int = 0
    free_pages: int = 0
    cached_pages: int = 0
    total_pages: int = 0
    steps: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    preempted: int = 0
    evicted_pages: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
