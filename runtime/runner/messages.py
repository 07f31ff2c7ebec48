"""The messages between the server and a runner process, and their framing.

A frame is a 4-byte little-endian length and, to the runner, one msgpack-encoded Struct whose ``type`` field tells
which; from it a list of them, all that one step of the engine has to say. Frames hold data only, nothing executable.
The server sends ``Load`` first and once; ``id`` is the server's number for a request. Every ``Submit`` is answered by
any number of ``Piece`` and exactly one ``Finished`` or ``Failed``.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import msgspec

from ..events import EngineStats, Failed, Finished, Piece, Reading
from ..images.wire import Picture, Preparation
from ..params import Sampling

__all__ = [
    "HEADER_BYTES",
    "Abort",
    "Count",
    "Counted",
    "Detokenize",
    "Embed",
    "Embedded",
    "Failed",
    "Finished",
    "FromRunner",
    "Load",
    "LoadFailed",
    "Piece",
    "Ping",
    "Progress",
    "Reading",
    "Ready",
    "Stats",
    "Submit",
    "Texted",
    "ToRunner",
    "Tokenize",
    "Tokenized",
    "Unload",
    "encode_frame",
    "frame_length",
]

MAX_FRAME_BYTES = 256 << 20
_LENGTH = struct.Struct("<I")
HEADER_BYTES = _LENGTH.size


class Load(msgspec.Struct, frozen=True, kw_only=True, tag="load"):
    """Which model to load and how; ``n_slots`` sequences run at once.

    The KV cache holds ``n_contexts`` times ``num_ctx`` tokens, and ``num_ctx`` is lowered to the training context.
    ``num_thread`` 0 means the physical cores of this process. ``draft`` is the file of a smaller model that guesses
    tokens, ``projector`` that of what looks at pictures; empty for none.
    """

    path: str
    num_ctx: int = 4096
    n_slots: int = 16
    n_contexts: int = 4
    num_batch: int = 512
    num_thread: int = 0
    kv_type: str = "f16"
    backend: str = "auto"
    draft: str = ""
    projector: str = ""


class Submit(msgspec.Struct, frozen=True, kw_only=True, tag="submit"):
    """One request. ``prompt`` is text (special tokens recognised, BOS added as the model wants) or token ids.

    A text prompt may hold ``gristmill.runtime.chat.guard`` marks, which keep a user's text from becoming
    control tokens. ``context`` are the token ids of an earlier answer, placed before the prompt. ``truncate``: a
    prompt that does not fit loses its middle, else it fails with ``PromptTooLong``. ``progress``: how far the prompt
    is read is reported by ``Reading``. ``adapters``: files of LoRA adapters for it. ``pictures`` stand where a text
    prompt says ``[img-N]``, made as ``Ready.preparation`` says. ``name`` is what logs call it.
    """

    id: int
    prompt: str | list[int]
    sampling: Sampling
    context: list[int] = []
    truncate: bool = False
    progress: bool = False
    adapters: tuple[str, ...] = ()
    pictures: list[Picture] = []
    name: str = ""


class Count(msgspec.Struct, frozen=True, kw_only=True, tag="count"):
    """How many tokens does ``text`` have as a prompt? Answered by ``Counted``."""

    id: int
    text: str


class Counted(msgspec.Struct, frozen=True, kw_only=True, tag="counted"):
    """See ``prompt.PromptReader.count``."""

    id: int
    n_tokens: int


class Tokenize(msgspec.Struct, frozen=True, kw_only=True, tag="tokenize"):
    """The token ids of ``text``; see ``Tokenizer.encode``. Answered by ``Tokenized``."""

    id: int
    text: str
    add_special: bool
    parse_special: bool


class Tokenized(msgspec.Struct, frozen=True, kw_only=True, tag="tokenized"):
    """``pieces`` are the bytes that each of ``ids`` stands for."""

    id: int
    ids: list[int]
    pieces: list[bytes]


class Detokenize(msgspec.Struct, frozen=True, kw_only=True, tag="detokenize"):
    """The text of token ids, control tokens spelled out. Answered by ``Texted`` or ``Failed``."""

    id: int
    ids: list[int]


class Texted(msgspec.Struct, frozen=True, kw_only=True, tag="texted"):
    """See ``Detokenize``."""

    id: int
    text: str


class Embed(msgspec.Struct, frozen=True, kw_only=True, tag="embed"):
    """Vectors of texts, or of lists of token ids. Answered by ``Embedded`` or ``Failed``; ``Abort`` works, too.

    ``truncate``: what is longer than the context loses its end, else it fails with ``PromptTooLong``. ``normalize``:
    vectors have length 1. With a ``query``, inputs are documents, and a reranking model is shown each beside it.
    ``name`` is what logs call it.
    """

    id: int
    inputs: list[str | list[int]]
    truncate: bool = False
    normalize: bool = True
    query: str | None = None
    name: str = ""


class Embedded(msgspec.Struct, frozen=True, kw_only=True, tag="embedded"):
    """``vectors``: for each input, in their order, ``dim`` little-endian float32; ``n_tokens`` of each."""

    id: int
    dim: int
    vectors: bytes
    n_tokens: list[int]


class Abort(msgspec.Struct, frozen=True, tag="abort"):
    """Stop a request. It still gets its one last message, unless that is already under way."""

    id: int


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    """Answered by ``Stats``: the health check."""


class Unload(msgspec.Struct, frozen=True, tag="unload"):
    """End the process. Requests in flight fail."""


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag="progress"):
    """Loading goes on: ``done`` of ``total`` bytes of weights are ready."""

    done: int
    total: int


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """The model is loaded. ``n_ctx`` is the context of one sequence; bytes are resident memory of the process.

    ``preparation`` is how it wants pictures, None where it cannot look at any; ``no_pictures`` says why.
    """

    n_ctx: int
    n_vocab: int
    architecture: str
    memory_bytes: int
    weight_bytes: int
    kv_bytes: int
    load_ns: int
    backend: str
    preparation: Preparation | None = None
    no_pictures: str = ""


class LoadFailed(msgspec.Struct, frozen=True, kw_only=True, tag="load_failed"):
    """The model could not be loaded; the process ends. ``kind`` is the error's class name."""

    error: str
    kind: str


class Stats(EngineStats, frozen=True, kw_only=True, tag="stats"):
    """The engine's state, with texts that are embedded as work like any other."""

    memory_bytes: int


ToRunner = Load | Submit | Count | Tokenize | Detokenize | Embed | Abort | Ping | Unload
FromRunner = (
    Progress
    | Ready
    | LoadFailed
    | Piece
    | Reading
    | Finished
    | Failed
    | Counted
    | Tokenized
    | Texted
    | Embedded
    | Stats
)


def encode_frame(content: ToRunner | Sequence[FromRunner]) -> bytes:
    """``content`` as one frame. Raises ValueError over the limit."""
    body = msgspec.msgpack.encode(content)
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"message of {len(body)} bytes is over the frame limit of {MAX_FRAME_BYTES}")
    return _LENGTH.pack(len(body)) + body


def frame_length(header: bytes) -> int:
    """The body length that a frame's first 4 bytes announce. Raises ValueError over the limit."""
    (length,) = _LENGTH.unpack(header)
    if length > MAX_FRAME_BYTES:
        raise ValueError(f"frame of {length} bytes is over the limit of {MAX_FRAME_BYTES}")
    return int(length)
