"""The Messages API's request, as a native one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from gristmill.runtime.errors import InvalidRequest, cut

from ..openai.inputs import is_base64
from ..schema import ChatRequest, FunctionCall, Message, Think, Tool, ToolCall, ToolFunction
from ..values import text_or_empty

__all__ = ["MessagesRequest", "check", "native_request"]

_EFFORTS = {"low": "low", "medium": "medium", "high": "high", "max": "max", "xhigh": "high"}
_CHOICES = {"auto": "auto", "none": "none", "any": "required"}


class MessagesRequest(Struct, kw_only=True):
    """Unknown fields are ignored."""

    model: str = ""
    max_tokens: int = 0
    messages: list[Any] = []
    system: str | list[Any] = ""
    stream: bool = False
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    tools: list[dict[str, Any]] = []
    tool_choice: dict[str, Any] = {}
    thinking: dict[str, Any] = {}
    output_config: dict[str, Any] = {}
    output_format: dict[str, Any] | None = None
    metadata: dict[str, Any] = {}

    @property
    def one_call(self) -> bool:
        """Whether an answer may have one call at most."""
        return self.tool_choice.get("disable_parallel_tool_use") is True


def check(body: MessagesRequest, *, counts_only: bool = False) -> None:
    """Raises InvalidRequest for what is missing. To count tokens, no ``max_tokens`` is needed."""
    if not body.model:
        raise InvalidRequest("model is required")
    if not counts_only and body.max_tokens <= 0:
        raise InvalidRequest("max_tokens is required and must be positive")
    if not body.messages:
        raise InvalidRequest("messages is required")


def native_request(body: MessagesRequest, *, can_think: bool) -> ChatRequest:
    """Thinking that is asked of a model without it is left out. Raises InvalidRequest naming what is wrong."""
    options: dict[str, Any] = {"num_predict": body.max_tokens} if body.max_tokens > 0 else {}
    for name in ("temperature", "top_p", "top_k"):
        if (value := getattr(body, name)) is not None:
            options[name] = value
    if body.stop_sequences is not None:
        options["stop"] = body.stop_sequences
    system = _system(body.system)
    messages = [Message(role="system", content=system)] if system else []
    for i, item in enumerate(body.messages):
        messages += _messages(item, f"messages[{i}]")
    return ChatRequest(
        model=body.model,
        messages=messages,
        stream=body.stream,
        options=options,
        format=_format(body),
        think=_think(body) if can_think else None,
        tools=[_tool(tool) for tool in body.tools if not str(tool.get("type", "")).startswith("web_search")],
        tool_choice=_tool_choice(body.tool_choice),
    )


def _system(system: str | list[Any]) -> str:
    if isinstance(system, str):
        return system
    return "".join(text_or_empty(block.get("text")) for block in system if isinstance(block, Mapping))


def _think(body: MessagesRequest) -> Think | None:
    kind = body.thinking.get("type")
    if kind in ("enabled", "disabled"):
        return Think.parse(kind == "enabled")
    effort = _EFFORTS.get(str(body.output_config.get("effort", "")))
    return Think.parse(effort) if effort else None


def _format(body: MessagesRequest) -> dict[str, Any] | None:
    """The JSON schema that the answer is held to, if one is asked for; ``output_format`` is its name in betas."""
    place, given = "output_config.format", body.output_config.get("format")
    if given is None:
        place, given = "output_format", body.output_format
    if given is None:
        return None
    if not isinstance(given, dict) or given.get("type") != "json_schema" or not isinstance(given.get("schema"), dict):
        raise InvalidRequest(f'{place}: expected {{"type": "json_schema", "schema": {{...}}}}')
    schema: dict[str, Any] = given["schema"]
    return schema


def _tool(tool: Mapping[str, Any]) -> Tool:
    name, schema = text_or_empty(tool.get("name")), tool.get("input_schema")
    if schema is not None and not isinstance(schema, dict):
        raise InvalidRequest(f"invalid input_schema for tool {cut(name)}: expected an object")
    function = ToolFunction(
        name=name,
        description=text_or_empty(tool.get("description")),
        parameters=schema or {},
        strict=tool.get("strict") is True,
    )
    return Tool(function=function)


def _tool_choice(choice: Mapping[str, Any]) -> str | dict[str, Any]:
    kind = choice.get("type", "auto")
    if kind == "tool":
        if not isinstance(choice.get("name"), str):
            raise InvalidRequest('tool_choice: the type "tool" needs the name of a tool')
        return {"type": "function", "function": {"name": choice["name"]}}
    if not isinstance(kind, str) or kind not in _CHOICES:
        raise InvalidRequest(f"tool_choice: type {cut(kind)} is none of auto, any, tool, none")
    return _CHOICES[kind]


def _messages(item: Any, place: str) -> list[Message]:
    """A turn as native messages: tool results are of their own, before a user's text and after another's."""
    if not isinstance(item, Mapping):
        raise InvalidRequest(f"{place}: expected an object")
    role, content = text_or_empty(item.get("role")).lower(), item.get("content")
    if isinstance(content, str):
        return [Message(role=role, content=content)]
    if not isinstance(content, list):
        raise InvalidRequest(f"{place}.content: expected a text or a list of blocks")
    turn, texts, results = Message(role=role), list[str](), list[Message]()
    for j, block in enumerate(content):
        if not isinstance(block, Mapping):
            raise InvalidRequest(f"{place}.content[{j}]: expected an object")
        _add(block, turn, texts, results)
    turn.content = "".join(texts)
    turns = [turn] if turn.content or turn.thinking or turn.images or turn.tool_calls else []
    return [*results, *turns] if role == "user" else [*turns, *results]


def _add(block: Mapping[str, Any], turn: Message, texts: list[str], results: list[Message]) -> None:
    """``block`` is of ``turn``, whose content will be ``texts``, or one of the ``results`` beside it."""
    match block.get("type"):
        case "text":
            texts.append(text_or_empty(block.get("text")))
        case "thinking":
            turn.thinking = text_or_empty(block.get("thinking"))
        case "image":
            turn.images.append(_image(block.get("source")))
        case "tool_use" | "server_tool_use":
            turn.tool_calls.append(_call(block, len(turn.tool_calls)))
        case "tool_result" | "web_search_tool_result":
            results.append(_result(block))


def _call(block: Mapping[str, Any], index: int) -> ToolCall:
    for name in ("id", "name"):
        if not text_or_empty(block.get(name)):
            raise InvalidRequest(f"tool_use block missing required '{name}' field")
    arguments = block.get("input")
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise InvalidRequest("tool_use block's 'input' must be an object")
    return ToolCall(id=block["id"], function=FunctionCall(name=block["name"], arguments=arguments, index=index))


def _result(block: Mapping[str, Any]) -> Message:
    content, images = block.get("content"), []
    if isinstance(content, list):
        parts: Sequence[Mapping[str, Any]] = [part for part in content if isinstance(part, Mapping)]
        for part in parts:
            if part.get("type") == "image":
                source = part.get("source")
                if not isinstance(source, Mapping) or source.get("type") != "base64":
                    raise InvalidRequest("invalid tool_result image source")
                images.append(_image(source))
        content = "".join(text_or_empty(part.get("text")) for part in parts if part.get("type") == "text")
    call_id = text_or_empty(block.get("tool_use_id"))
    return Message(role="tool", content=text_or_empty(content), images=images, tool_call_id=call_id)


def _image(source: Any) -> str:
    if not isinstance(source, Mapping):
        raise InvalidRequest("invalid image source")
    if source.get("type") != "base64":
        kind = str(source.get("type"))[:40]
        raise InvalidRequest(f"invalid image source type: {kind}. Only base64 images are supported.")
    data = source.get("data")
    if not isinstance(data, str) or not is_base64(data):
        raise InvalidRequest("invalid base64 image data: illegal base64 data")
    return data
