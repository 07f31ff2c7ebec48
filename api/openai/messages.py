"""A conversation in OpenAI's words as native messages. Texts of errors are Ollama's."""

from __future__ import annotations

import binascii
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from gristmill.runtime.errors import InvalidRequest

from ..schema import FunctionCall, Message, ToolCall
from .options import go_type
from .schema import ChatMessage, WrittenCall

__all__ = ["image_data", "native_messages", "read_calls"]

_IMAGE_PREFIXES = tuple(f"data:{kind};base64," for kind in ("image/jpeg", "image/jpg", "image/png", "image/webp", ""))


def native_messages(messages: Sequence[ChatMessage]) -> list[Message]:
    """Each message as one, or as many as its content has parts. Raises InvalidRequest for what is no message."""
    names = {call.id: call.function.name for message in messages for call in message.tool_calls}
    return [native for message in messages for native in _natives(message, names)]


def _natives(message: ChatMessage, names: dict[str, str]) -> Iterator[Message]:
    """``names`` are those of the conversation's calls, by id."""
    about: dict[str, Any] = {"role": "system" if message.role.lower() == "developer" else message.role}
    if message.role.lower() == "tool":
        about |= {"tool_name": message.name or names.get(message.tool_call_id, "")}
        about |= {"tool_call_id": message.tool_call_id}
    parts = _parts(message)
    for i, part in enumerate(parts):
        thinking = message.reasoning if i == 0 else ""
        calls = read_calls(message.tool_calls) if i == len(parts) - 1 else []
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
            return {"images": [image_data(url)]}
        case {"type": "input_audio"}:
            _check_audio(part.get("input_audio"))
            raise InvalidRequest("input_audio: this version cannot listen; send the words as text")
    raise InvalidRequest("invalid message format")


def image_data(url: str) -> str:
    """The picture of a data URL, in base64. Raises InvalidRequest; pictures are never fetched."""
    if url.startswith(("http://", "https://")):
        raise InvalidRequest("image URLs are not currently supported, please use base64 encoded data instead")
    prefix = next((prefix for prefix in _IMAGE_PREFIXES if url.startswith(prefix)), None)
    data = url[len(prefix or "") :]
    if prefix is None or not data or _base64_error(data):
        raise InvalidRequest("invalid image input")
    return data


def _check_audio(audio: Any) -> None:
    if not isinstance(audio, dict):
        raise InvalidRequest("invalid input_audio format")
    data = audio.get("data")
    if not isinstance(data, str):
        raise InvalidRequest("invalid input_audio format: missing data")
    if problem := _base64_error(data):
        raise InvalidRequest(f"invalid input_audio base64 data: {problem}")


def _base64_error(text: str) -> str:
    """What is wrong with a text that should be base64, or nothing."""
    try:
        binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:  # also for characters outside ASCII
        return str(error).lower()
    return ""


def read_calls(calls: Sequence[WrittenCall]) -> list[ToolCall]:
    """Calls that the model wrote before. Raises InvalidRequest for arguments that are no JSON object."""
    return [
        ToolCall(id=call.id, function=FunctionCall(call.function.name, _arguments(call.function.arguments), index))
        for index, call in enumerate(calls)
    ]


def _arguments(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        raise InvalidRequest("invalid tool call arguments") from None
