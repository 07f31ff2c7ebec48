"""A conversation in OpenAI's words as native messages. Texts of errors are Ollama's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from gristmill.runtime.errors import InvalidRequest

from ..schema import FunctionCall, Message, ToolCall
from .inputs import audio_of, image_of, roles_of_ours
from .options import go_type
from .schema import ChatMessage, WrittenCall

__all__ = ["native_messages", "read_arguments"]


def native_messages(messages: Sequence[ChatMessage]) -> list[Message]:
    """Each message as one, or as many as its content has parts. Raises InvalidRequest for what is no message."""
    names = {call.id: call.function.name for message in messages for call in message.tool_calls}
    return [native for message in messages for native in _natives(message, names)]


def _natives(message: ChatMessage, names: dict[str, str]) -> Iterator[Message]:
    """``names`` are those of the conversation's calls, by id."""
    about: dict[str, Any] = {"role": roles_of_ours(message.role)}
    if message.role.lower() == "tool":
        about |= {"tool_name": message.name or names.get(message.tool_call_id, "")}
        about |= {"tool_call_id": message.tool_call_id}
    parts = _parts(message)
    for i, part in enumerate(parts):
        thinking = message.reasoning if i == 0 else ""
        calls = _calls(message.tool_calls) if i == len(parts) - 1 else []
        yield Message(**about, **part, thinking=thinking, tool_calls=calls)


def _parts(message: ChatMessage) -> list[dict[str, Any]]:
    """The content's parts as fields of native messages; at least one."""
    match message.content:
        case str(text):
            return [{"content": text}]
        case list(parts):
            return [_part(part) for part in parts] or [{}]
        case None if message.tool_calls:
            return [{}]
    raise InvalidRequest(f"invalid message content type: {go_type(message.content)}")


def _part(part: Any) -> dict[str, Any]:
    match part:
        case {"type": "text", "text": str(text)}:
            return {"content": text}
        case {"type": "image_url", "image_url": {"url": str(url)} | str(url)}:
            return {"images": [image_of(url)]}
        case {"type": "input_audio"}:
            audio_of(part.get("input_audio"))
            raise InvalidRequest("input_audio: this version cannot listen; send the words as text")
    raise InvalidRequest("invalid message format")


def _calls(calls: Sequence[WrittenCall]) -> list[ToolCall]:
    """Calls that the model wrote before. Raises InvalidRequest for arguments that are no JSON object."""
    return [
        ToolCall(id=call.id, function=FunctionCall(call.function.name, read_arguments(call.function.arguments), index))
        for index, call in enumerate(calls)
    ]


def read_arguments(text: Any) -> dict[str, Any]:
    """The object that the ``arguments`` of a call, a text, hold. Raises InvalidRequest."""
    try:
        return msgspec.json.decode(text if isinstance(text, str) else "", type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        raise InvalidRequest("invalid tool call arguments") from None
