"""Which tools a request offers the model, and calls that a grammar makes certain. Knows no template and no HTTP.

A call that is forced (``tool_choice``) or strict is written as one JSON object that names the tool and its arguments.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from gristmill.runtime.errors import InvalidRequest, cut

from .schema import Tool

__all__ = ["Choice", "call_schema", "plain_tools", "read_call", "read_choice", "shown_calls"]

_MODES = ("auto", "none", "required")
MAX_TOOLS = 1024
_ID_CHARS = string.ascii_lowercase + string.digits


@dataclass(frozen=True)
class Choice:
    """``offered`` are the tools that the model is told of. ``forced``: it must call one of them."""

    offered: tuple[Tool, ...] = ()
    forced: bool = False

    @property
    def is_strict(self) -> bool:
        """Whether arguments are held to their schema."""
        return any(tool.function.strict for tool in self.offered)


def read_choice(tools: Sequence[Tool], tool_choice: str | dict[str, Any]) -> Choice:
    """What ``tool_choice`` makes of ``tools``. Raises InvalidRequest where it cannot be done."""
    if len(tools) > MAX_TOOLS:
        raise InvalidRequest(f"tools: {len(tools)} are over the limit of {MAX_TOOLS}")
    if isinstance(tool_choice, dict):
        if tool_choice.get("type") == "allowed_tools":
            return _allowed(tools, tool_choice)
        return Choice((_named(tools, tool_choice),), forced=True)
    if tool_choice not in _MODES:
        raise InvalidRequest(f"tool_choice: {cut(tool_choice)} is none of {', '.join(_MODES)}, nor a tool's name")
    if tool_choice == "required" and not tools:
        raise InvalidRequest("tool_choice: a call is required, but tools is empty")
    return Choice(() if tool_choice == "none" else tuple(tools), forced=tool_choice == "required")


def _allowed(tools: Sequence[Tool], tool_choice: dict[str, Any]) -> Choice:
    """Some of ``tools``, in their order: ``{"type": "allowed_tools", "allowed_tools": {"mode", "tools"}}``."""
    given = tool_choice.get("allowed_tools")
    mode, listed = (given.get("mode", "auto"), given.get("tools")) if isinstance(given, dict) else (None, None)
    if mode not in ("auto", "required") or not isinstance(listed, list) or not listed:
        raise InvalidRequest('tool_choice: allowed_tools needs a mode, "auto" or "required", and a list of tools')
    names = {_named(tools, item if isinstance(item, dict) else {}).function.name for item in listed}
    return Choice(tuple(tool for tool in tools if tool.function.name in names), forced=mode == "required")


def _named(tools: Sequence[Tool], tool_choice: dict[str, Any]) -> Tool:
    function = tool_choice.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str):
        raise InvalidRequest('tool_choice: an object must be {"type": "function", "function": {"name": ...}}')
    for tool in tools:
        if tool.function.name == name:
            return tool
    raise InvalidRequest(f"tool_choice: there is no tool {cut(name)} in tools")


def plain_tools(choice: Choice) -> list[dict[str, Any]]:
    """For a template: as they were sent, without ``strict``, which is ours to see to."""
    shown = [msgspec.to_builtins(tool) for tool in choice.offered]
    for tool in shown:
        tool["function"].pop("strict", None)
    return shown


def call_schema(choice: Choice, name_key: str = "name", arguments_key: str = "arguments") -> str:
    """JSON schema, as JSON, of a call of one of the offered tools.

    Arguments follow the tool's ``parameters`` where the call is forced or the tool strict, else any object will do.
    """
    schemas, definitions = [], {}
    for i, tool in enumerate(choice.offered):
        arguments: dict[str, Any] = {"type": "object"}
        if (choice.forced or tool.function.strict) and tool.function.parameters:
            arguments = _moved(tool.function.parameters, f"#/$defs/tool{i}")
            if arguments != tool.function.parameters:
                definitions[f"tool{i}"], arguments = arguments, {"$ref": f"#/$defs/tool{i}"}
        schemas.append(
            {
                "type": "object",
                "properties": {name_key: {"const": tool.function.name}, arguments_key: arguments},
                "required": [name_key, arguments_key],
                "additionalProperties": False,
            }
        )
    whole: dict[str, Any] = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    return msgspec.json.encode({**whole, "$defs": definitions} if definitions else whole).decode()


def _moved(schema: Any, place: str) -> Any:
    """``schema`` with its references to itself leading to ``place``, where it will stand in a larger one."""
    if isinstance(schema, list):
        return [_moved(item, place) for item in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {key: _moved(item, place) for key, item in schema.items()}
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        moved["$ref"] = place + reference[1:]
    return moved


def read_call(text: str, name_key: str = "name", arguments_key: str = "arguments") -> tuple[str, dict[str, Any]] | None:
    """(name, arguments) of a call that followed ``call_schema``; None for what is no such call, or was cut off."""
    try:
        call = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None
    if not isinstance(call, dict) or not isinstance(call.get(arguments_key), dict) or name_key not in call:
        return None
    return str(call[name_key]), call[arguments_key]


def shown_calls(calls: Sequence[tuple[str, dict[str, Any]]], first_index: int) -> list[dict[str, Any]]:
    """Calls as answers show them, each with a new id."""
    return [
        {"id": _new_id(), "function": {"index": index, "name": name, "arguments": arguments}}
        for index, (name, arguments) in enumerate(calls, first_index)
    ]


def _new_id() -> str:
    return "call_" + "".join(secrets.choice(_ID_CHARS) for _ in range(8))
