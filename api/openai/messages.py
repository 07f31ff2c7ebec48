"""The messages of a chat completion request, as native ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gristmill.runtime.errors import InvalidRequest

from ..schema import FunctionCall, Message, ToolCall
from .inputs import audio_of, image_of, roles_of_ours

__all__ = ["native_messages"]

_GO_TYPES = {bool: "bool", int: "float64", float: "float64", dict: "map[string]interface {}"}


def native_messages(given: Sequence[Any]) -> list[Message]:
    """Each part of a message becomes one of its own, with the same role. Raises InvalidRequest naming what is wrong."""
    if not given:
        raise InvalidRequest("[] is too short - 'messages'")
    messages: list[Message] = []
    for i, item in enumerate(given):
        if not isinstance(item, Mapping):
            raise InvalidRequest(f"messages[{i}]: expected object, got {type(item).__name__}")
        messages += _native(item, messages)
    return messages


def _native(item: Mapping[str, Any], before: Sequence[Message]) -> list[Message]:
    role = roles_of_ours(str(item.get("role") or ""))
    calls = [_call(call) for call in item.get("tool_calls") or []]
    common: dict[str, Any] = {"role": role, "thinking": _text(item.get("reasoning"))}
    if role == "tool":
        call_id = _text(item.get("tool_call_id"))
        common |= {"tool_call_id": call_id, "tool_name": _text(item.get("name")) or _name_of(call_id, before)}
    content = item.get("content")
    if isinstance(content, str):
        return [Message(content=content, tool_calls=calls, **common)]
    if isinstance(content, list):
        parts = [Message(**_part(part), **common) for part in content]
        if calls and parts:
            parts[-1].tool_calls = calls
        return parts or [Message(tool_calls=calls, **common)]
    if content is None and calls:
        return [Message(tool_calls=calls, **common)]
    kind = "<nil>" if content is None else _GO_TYPES.get(type(content), type(content).__name__)
    raise InvalidRequest(f"invalid message content type: {kind}")


def _part(part: Any) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return {"content": part["text"]}
    if kind == "image_url":
        return {"images": [image_of(part.get("image_url"))]}
    if kind == "input_audio":
        return {"images": [audio_of(part.get("input_audio"))]}
    raise InvalidRequest("invalid message format")


def _call(call: Any) -> ToolCall:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        raise InvalidRequest("invalid tool call: it has no function")
    return ToolCall(
        id=_text(call.get("id")),
        function=FunctionCall(
            name=_text(function.get("name")),
            arguments=read_arguments(function.get("arguments")),
            index=call["index"] if isinstance(call.get("index"), int) else 0,
        ),
    )


def read_arguments(text: Any) -> dict[str, Any]:
    """The object that a tool call's ``arguments``, a text, holds. Raises InvalidRequest."""
    try:
        return msgspec.json.decode(text if isinstance(text, str) else "", type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        raise InvalidRequest("invalid tool call arguments") from None


def _name_of(call_id: str, before: Sequence[Message]) -> str:
    """The function of the last call with this id."""
    calls = [call for message in before for call in message.tool_calls if call_id and call.id == call_id]
    return calls[-1].function.name if calls else ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
