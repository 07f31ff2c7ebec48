"""The OpenAPI 3.1 document, from the table of operations."""

from __future__ import annotations

import functools
import re
from typing import Any

import msgspec
from aiohttp import web

from gristmill import __version__

from ..output import json_response
from ..schema import KeepAlive, Think
from . import answers
from .operations import OPERATIONS, Operation

__all__ = ["document", "openapi"]

_REF = "#/components/schemas/{name}"
_JSON, _TEXT, _BYTES = "application/json", "text/plain", "application/octet-stream"
_ALWAYS = (401, 403, 408, 413, 415)  # whatever the endpoint: keys, hosts and origins, bodies
_REASONS = {
    200: "Done",
    201: "Stored",
    400: "Something in the request cannot be used",
    401: "An API key is needed",
    403: "This host, origin or model is not served",
    404: "There is no such model or blob",
    405: "Not with this method",
    408: "The body stopped coming",
    413: "The body is too large",
    415: "The body is compressed in an unknown way",
    500: "The service or its model failed",
    503: "Too much is waiting: try again later",
}
_PATH_PARAMETER = re.compile(r"{(\w+)(?::[^}]*)?}")


async def openapi(request: web.Request) -> web.Response:
    """GET /openapi.json"""
    return json_response(document())


@functools.cache
def document() -> dict[str, Any]:
    """The whole document, as plain values."""
    kinds = [kind for operation in OPERATIONS.values() for kind in (operation.body, operation.answer)]
    structs = {kind for kind in (*kinds, *_errors()) if isinstance(kind, type) and issubclass(kind, msgspec.Struct)}
    _, schemas = msgspec.json.schema_components(
        sorted(structs, key=lambda kind: kind.__name__), schema_hook=_schema_of_ours, ref_template=_REF
    )
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), operation in OPERATIONS.items():
        plain = _PATH_PARAMETER.sub(r"{\1}", path)
        paths.setdefault(plain, {})[method.lower()] = _operation(method, path, operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Gristmill", "version": __version__, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "Where keys are set up"}},
        },
        "security": [{}, {"key": []}],
    }


def _operation(method: str, path: str, operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": re.sub(r"\W+", "_", f"{method.lower()}{path}").strip("_"),
        "responses": {
            **{str(status): _answer(method, status, operation) for status in operation.success},
            **{str(s): _error(method, s, operation) for s in sorted({*operation.errors, *_ALWAYS})},
            "405": {"description": _REASONS[405], "content": _content(method, _TEXT, {"type": "string"})},
        },
    }
    names = _PATH_PARAMETER.findall(path)
    if names:
        described["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    if operation.body is bytes:
        described["requestBody"] = {"required": True, "content": {_BYTES: {"schema": {}}}}
    elif operation.body is not None:
        described["requestBody"] = {"required": True, "content": {_JSON: {"schema": _schema(operation.body)}}}
    return described


def _answer(method: str, status: int, operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {"description": _REASONS[status]}
    if operation.answer is str:
        described["content"] = _content(method, _TEXT, {"type": "string"})
    elif operation.answer is not None:
        described["content"] = _content(method, _JSON, _schema(operation.answer))
        if operation.stream:
            described["content"][operation.stream] = {"schema": {"type": "string"}}
    return described


def _error(method: str, status: int, operation: Operation) -> dict[str, Any]:
    return {"description": _REASONS[status], "content": _content(method, _JSON, _schema(operation.error))}


def _content(method: str, content_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Nothing has a body where the method is HEAD."""
    return {} if method == "HEAD" else {content_type: {"schema": schema}}


def _errors() -> set[Any]:
    return {answers.Error, *(operation.error for operation in OPERATIONS.values())}


def _schema(kind: Any) -> dict[str, Any]:
    schema: dict[str, Any] = msgspec.json.schema(kind, schema_hook=_schema_of_ours, ref_template=_REF)
    schema.pop("$defs", None)
    return schema


def _schema_of_ours(kind: type) -> dict[str, Any]:
    """Of the types that ``schema.decode_hook`` makes."""
    if kind is KeepAlive:
        return {"type": ["string", "number"], "description": 'A duration ("5m", "1h30m") or seconds; below 0 for ever'}
    if kind is Think:
        return {"anyOf": [{"type": "boolean"}, {"enum": ["low", "medium", "high", "max"]}]}
    raise NotImplementedError(f"no schema for {kind}")  # how a schema_hook says that it knows no such type
