"""Arguments that a model writes as text, as values of the types that the tool declares."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from .base import Tools

_ORDER = ("boolean", "integer", "number", "array", "object", "string")


def declared(tools: Tools, name: str) -> Mapping[str, Any]:
    """The declared properties of the tool ``name``; none for a tool that is not there."""
    for tool in tools:
        function = tool.get("function") or {}
        if function.get("name") == name:
            return (function.get("parameters") or {}).get("properties") or {}
    return {}


def required(tools: Tools, name: str) -> list[str] | None:
    """The names that the tool ``name`` must be given; None for a tool that is not there."""
    for tool in tools:
        function = tool.get("function") or {}
        if function.get("name") == name:
            return list((function.get("parameters") or {}).get("required") or [])
    return None


def value_of(text: str, schema: Mapping[str, Any] | None) -> Any:
    """``text`` as the first of the declared types that it fits; itself where it fits none, or none is declared."""
    if text.strip().lower() == "null":
        return None
    kinds = _kinds(schema or {})
    for kind in _ORDER:
        if kind in kinds:
            fits, value = _as(kind, text, is_only=kinds == {kind})
            if fits:
                return value
    return text


def _kinds(schema: Mapping[str, Any]) -> set[str]:
    kind = schema.get("type")
    kinds = {kind} if isinstance(kind, str) else {k for k in kind or () if isinstance(k, str)}
    for option in schema.get("anyOf") or ():
        kinds |= _kinds(option) if isinstance(option, Mapping) else set()
    return kinds


def _as(kind: str, text: str, *, is_only: bool) -> tuple[bool, Any]:
    stripped = text.strip()
    if kind == "boolean":
        lower = stripped.lower()
        return (True, lower == "true") if lower in ("true", "false") or is_only else (False, None)
    if kind == "string":
        return True, text
    try:
        if kind == "integer":
            return True, int(stripped)
        value = json.loads(stripped, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return False, None
    if kind == "number" and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return True, int(value) if float(value).is_integer() else value
    return isinstance(value, {"array": list, "object": dict}.get(kind, ())), value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")
