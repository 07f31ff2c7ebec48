"""Request bodies: bytes to typed structs, with errors that name the field.

As Ollama reads them: the content type does not matter, unknown keys are ignored, ``null`` means "not given", a key
may be spelled in any case, the last of repeated keys wins.
"""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from gristmill.runtime.errors import InvalidRequest, cut

from .errors import ApiError

T = TypeVar("T", bound=msgspec.Struct)

MAX_BODY_BYTES = 128 << 20
MAX_DEPTH = 256
_AT = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<where>.*)`)?$", re.DOTALL)
_TYPE_NAMES = {"str": "string", "int": "integer", "bool": "boolean", "float": "number", "array": "list", "null": "null"}


async def read_body(request: web.Request, kind: type[T]) -> T:
    """The JSON body as ``kind``. Raises InvalidRequest, or ApiError 413 and 415."""
    if request.headers.get("Content-Encoding", "identity").lower() not in ("identity", ""):
        raise ApiError(415, "content encoding is not supported: send the body as plain JSON")
    try:
        data = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise ApiError(413, f"request body too large (limit {MAX_BODY_BYTES >> 20} MiB)") from None
    if not data.strip():
        raise InvalidRequest("missing request body")
    return decode(data, kind)


def decode(data: bytes, kind: type[T]) -> T:
    """``data`` as ``kind``; see the module's text. Raises InvalidRequest."""
    value = _parse(data)
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise InvalidRequest(f"request body: expected an object, got {_json_name(value)}")
    fields = {field.encode_name for field in msgspec.structs.fields(kind)}
    given = {(key if key in fields else key.lower()): item for key, item in value.items() if item is not None}
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(_field_error(str(error))) from None


def _parse(data: bytes) -> Any:
    if _depth(data) > MAX_DEPTH:
        raise InvalidRequest(f"json nesting too deep (limit {MAX_DEPTH})")
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        if "surrogate" in str(error):
            return _without_surrogates(data)
        raise InvalidRequest(f"invalid request: {error}") from None
    except (UnicodeDecodeError, RecursionError, ValueError):
        raise InvalidRequest("invalid request: the body is not valid JSON in UTF-8") from None


def _without_surrogates(data: bytes) -> Any:
    r"""JSON may spell half of a surrogate pair (``"\ud83d"``), which is no character: it becomes U+FFFD."""
    try:
        value = json.loads(data, parse_constant=_refuse_constant)
        text = json.dumps(value, ensure_ascii=False)
        return msgspec.json.decode(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    except (ValueError, RecursionError):
        raise InvalidRequest("invalid request: the body is not valid JSON in UTF-8") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _depth(data: bytes) -> int:
    """The deepest nesting of brackets outside strings."""
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return 0
    depth = deepest = 0
    for bracket in re.findall(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', data, re.DOTALL):
        if bracket in (b"[", b"{"):
            depth += 1
            deepest = max(deepest, depth)
        elif bracket in (b"]", b"}"):
            depth -= 1
    return deepest


def _field_error(text: str) -> str:
    """msgspec's "Expected `str`, got `int` - at `$.a[0].b`" as "a[0].b: expected string, got integer"."""
    match = _AT.match(text)
    what, where = (match["what"], match["where"]) if match else (text, None)
    what = re.sub(r"`([^`]*)`", lambda found: _type_names(found[1]), what)
    what = what[:1].lower() + what[1:]
    return f"{cut((where or '').lstrip('.'))[1:-1] or 'request body'}: {what}"


def _type_names(types: str) -> str:
    names = [_TYPE_NAMES.get(name.strip(), name.strip()) for name in types.split("|")]
    return " or ".join(name for name in names if name != "null") or "null"


def _json_name(value: object) -> str:
    names = {bool: "boolean", str: "string", list: "array", int: "number", float: "number"}
    return names.get(type(value), type(value).__name__)
