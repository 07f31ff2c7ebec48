"""JSON bodies in: read within limits of size and time, decoded strictly into a Struct.

Go's decoder is the model where clients depend on it: unknown keys are ignored, null is as good as absent, keys may
differ in case, half surrogates become U+FFFD. Where it is lax to nobody's use (text after the first value, NaN), we
are not. Knows no request types.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from functools import cache
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from aiohttp import StreamReader, web

from gristmill.runtime.errors import InvalidRequest

from .decompress import MAX_BODY_BYTES, bound, decompress
from .errors import BodyTimeout, BodyTooLarge, ServerBusy, UnknownCoding

__all__ = ["BODY_BYTES", "BodyBudget", "decode_json", "read_json", "refuse_codings"]

T = TypeVar("T", bound=msgspec.Struct)
DecodeHook = Callable[[type, Any], Any]

BODY_BYTES = web.RequestKey("body_bytes", int)
MAX_BODIES_BYTES = 512 << 20
MAX_DEPTH = 256
IDLE_S = 60.0
_DECODED_IN_A_THREAD_BYTES = 1 << 20
_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NO_BRACKETS = bytes(sorted(set(range(256)) - set(b"[]{}")))
_CURLY_TO_SQUARE = bytes.maketrans(b"{}", b"[]")
_HALF = rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
_ESCAPE = re.compile(rb"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|" + _HALF + rb"|(\\.)", re.DOTALL)
_MISMATCH = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<where>.*)`)?", re.DOTALL)


class BodyBudget:
    """How many bytes all JSON bodies of a server hold together. A request's share lasts as long as the request."""

    def __init__(self, limit: int = MAX_BODIES_BYTES):
        self._left = limit

    def take(self, n_bytes: int) -> None:
        """Raises ServerBusy when there is not so much left. A negative number is given back."""
        if n_bytes > self._left:
            raise ServerBusy("server busy, too many large request bodies at once")
        self._left -= n_bytes

    def give_back(self, n_bytes: int) -> None:
        self._left += n_bytes


def refuse_codings(request: web.Request) -> None:
    """Where a body is taken only as it is. Raises UnknownCoding."""
    if _coding(request) not in ("", "identity"):
        raise UnknownCoding("content-encoding is not supported, send the body as it is")


def _coding(request: web.Request) -> str:
    """All of them, where it was sent with several."""
    return ",".join(request.headers.getall("Content-Encoding", [])).strip().lower()


async def read_json(request: web.Request, kind: type[T], hook: DecodeHook, budget: BodyBudget) -> T:
    """The body as a ``kind``; its bytes are charged to ``budget`` under ``request[BODY_BYTES]``.

    It may be compressed, as zstd. Raises InvalidRequest, BodyTooLarge, BodyTimeout, ServerBusy or UnknownCoding.
    """
    is_zstd = _coding(request) == "zstd"
    if not is_zstd:
        refuse_codings(request)
    body = await _read(request, budget)
    if is_zstd:
        body = await _decompressed(request, body, budget)
    if len(body) > _DECODED_IN_A_THREAD_BYTES:
        return await asyncio.to_thread(decode_json, body, kind, hook)
    return decode_json(body, kind, hook)


async def _read(request: web.Request, budget: BodyBudget) -> bytes:
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise BodyTooLarge(f"request body too large (limit {MAX_BODY_BYTES} bytes)")
    body = bytearray()
    while not request.content.at_eof():
        # A small body came with its head.
        chunk = request.content.read_nowait() or await _next_chunk(request.content)
        _charge(request, budget, len(chunk))
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge(f"request body too large (limit {MAX_BODY_BYTES} bytes)")
    return bytes(body)


async def _decompressed(request: web.Request, body: bytes, budget: BodyBudget) -> bytes:
    """As much as it may become is charged before, and what it has become when that is known."""
    _charge(request, budget, bound(len(body)))
    content = await asyncio.to_thread(decompress, body)
    _charge(request, budget, len(content) - bound(len(body)) - len(body))
    return content


def _charge(request: web.Request, budget: BodyBudget, n_bytes: int) -> None:
    budget.take(n_bytes)
    request[BODY_BYTES] = request.get(BODY_BYTES, 0) + n_bytes


async def _next_chunk(content: StreamReader) -> bytes:
    try:
        async with asyncio.timeout(IDLE_S):
            return await content.readany()
    except TimeoutError:
        raise BodyTimeout(f"request body stopped coming for {IDLE_S:g} s") from None


def decode_json(body: bytes, kind: type[T], hook: DecodeHook) -> T:
    """One JSON object as a ``kind``; ``hook`` makes its own types. Raises InvalidRequest naming the field."""
    if not body.strip(b" \t\r\n"):
        raise InvalidRequest("missing request body")
    if _is_too_deep(body):
        raise InvalidRequest(f"json nesting too deep (limit {MAX_DEPTH} levels)")
    value = _parsed(body)
    try:
        return msgspec.convert({} if value is None else _given(value, kind), kind, dec_hook=hook)
    except msgspec.ValidationError as error:
        raise InvalidRequest(_field_error(str(error))) from None


def _parsed(body: bytes) -> Any:
    try:
        try:
            return msgspec.json.decode(body)
        except msgspec.DecodeError:
            # It may be half a surrogate pair that the decoder stumbles over.
            whole = _ESCAPE.sub(lambda found: found[1] or found[2] or b"\\ufffd", body)
            if whole == body:
                raise
            return msgspec.json.decode(whole)
    except UnicodeDecodeError:
        raise InvalidRequest("request body is not UTF-8 text") from None
    except RecursionError:
        raise InvalidRequest(f"json nesting too deep (limit {MAX_DEPTH} levels)") from None
    except msgspec.DecodeError as error:
        text = str(error)
        if "truncated" in text:
            raise InvalidRequest("unexpected EOF") from None
        raise InvalidRequest(f"invalid json: {text[:1].lower()}{text[1:]}".replace("jSON is malformed: ", "")) from None


def _is_too_deep(body: bytes) -> bool:
    """Whether brackets outside of strings nest deeper than MAX_DEPTH. Each pass removes the innermost pairs."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return False
    brackets = _STRINGS.sub(b"", body).translate(_CURLY_TO_SQUARE, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):
        if b"[]" not in brackets:
            return False  # what is left does not match: for the parser to say
        brackets = brackets.replace(b"[]", b"")
    return b"[]" in brackets


def _given(value: Any, kind: Any) -> Any:
    """``value`` as a Struct of type ``kind`` needs it: field names in its spelling, null fields left out."""
    if isinstance(value, list):
        (item_kind, *_) = get_args(kind) or (None,)
        return [_given(item, item_kind) for item in value] if _is_struct(item_kind) else value
    if not isinstance(value, dict) or not _is_struct(kind):
        return value
    fields = _fields(kind)
    found: dict[str, Any] = {}
    for key, item in value.items():
        name = key if key in fields else key.lower()
        if item is not None and name in fields:
            found[name] = _given(item, fields[name])
    return found


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


@cache
def _fields(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """A Struct's field names in JSON, and their types without ``| None``."""
    hints = get_type_hints(kind)
    return {field.encode_name: _without_none(hints[field.name]) for field in msgspec.structs.fields(kind)}


def _without_none(kind: Any) -> Any:
    if get_origin(kind) in (Union, UnionType):
        kinds = [part for part in get_args(kind) if part is not type(None)]
        return kinds[0] if len(kinds) == 1 else kind
    return kind


def _field_error(text: str) -> str:
    """msgspec's "Expected `int`, got `str` - at `$.context[0]`" in our words: field first."""
    found = _MISMATCH.fullmatch(text)
    assert found is not None, "it matches every text"
    what = found["what"].replace("`", "")
    return f"{found['where'] or 'invalid request'}: {what[:1].lower()}{what[1:]}"
