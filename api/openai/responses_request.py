"""The Responses API's request, as a native one. No state is kept between calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from gristmill.runtime.errors import InvalidRequest, cut

from ..schema import ChatRequest, FunctionCall, KeepAlive, Message, Tool, ToolCall, ToolFunction
from ..values import text_or_empty
from .inputs import image_of, roles_of_ours, think_of
from .messages import read_arguments

__all__ = ["ResponsesRequest", "native_request"]

_TEXTS = ("input_text", "output_text", "text")


class ResponsesRequest(Struct, kw_only=True):
    """Unknown fields are ignored; some are only told again in the answer."""

    model: str = ""
    input: Any = ""
    instructions: str = ""
    stream: bool = False
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    reasoning: dict[str, Any] | None = None
    text: dict[str, Any] = {}
    tools: list[dict[str, Any]] = []
    tool_choice: str | dict[str, Any] = "auto"
    parallel_tool_calls: bool = True
    truncation: str = "disabled"
    background: bool = False
    keep_alive: KeepAlive | None = None
    options: dict[str, Any] = {}


def native_request(body: ResponsesRequest) -> ChatRequest:
    """Raises InvalidRequest naming what is wrong."""
    messages = [Message(role="system", content=body.instructions)] if body.instructions else []
    options: dict[str, Any] = {"temperature": 1.0, **body.options}
    if body.temperature is not None:
        options["temperature"] = body.temperature
    if body.top_p is not None:
        options["top_p"] = body.top_p
    if body.max_output_tokens is not None:
        options["num_predict"] = body.max_output_tokens
    return ChatRequest(
        model=body.model,
        messages=messages + _Items().messages(body.input),
        stream=body.stream,
        options=options,
        format=_format(body.text.get("format")),
        think=think_of(str((body.reasoning or {}).get("effort") or "")),
        tools=[native for tool in body.tools for native in _tools(tool)],
        tool_choice=_tool_choice(body.tool_choice),
        keep_alive=body.keep_alive,
    )


def _format(given: Any) -> Any:
    kind = given.get("type") if isinstance(given, Mapping) else None
    if kind == "json_object":
        return "json"
    if kind != "json_schema":
        return None
    if not isinstance(given.get("schema"), Mapping):
        raise InvalidRequest("text.format: json_schema needs an object as schema")
    return given["schema"]


def _tools(tool: Mapping[str, Any], namespace: str = "") -> list[Tool]:
    """A namespace is its members, with its name in front; web search is left out."""
    kind, name = str(tool.get("type") or "function"), text_or_empty(tool.get("name"))
    if kind == "namespace":
        return [native for member in _members(tool, name) for native in _tools(member, name)]
    if kind.startswith("web_search"):
        return []
    if namespace and not name.startswith(f"{namespace}."):
        name = f"{namespace}.{name}"
    parameters = tool.get("parameters")
    if not isinstance(parameters, dict | None):
        raise InvalidRequest(f"tools: parameters of {cut(name)} must be an object")
    function = ToolFunction(
        name=name,
        description=text_or_empty(tool.get("description")),
        parameters=parameters or {},
        strict=tool.get("strict") is True,
    )
    return [Tool(type=kind, function=function)]


def _members(namespace: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    members = namespace.get("tools") or []
    if not isinstance(members, list) or not all(isinstance(member, dict) for member in members):
        raise InvalidRequest(f"tools: tools of the namespace {cut(name)} must be a list of objects")
    return members


def _tool_choice(choice: str | dict[str, Any]) -> str | dict[str, Any]:
    """A function is named without an object around its name here; the form of chat completions is understood, too."""
    if isinstance(choice, str) or isinstance(choice.get("function") or choice.get("allowed_tools"), dict):
        return choice
    if choice.get("type") == "allowed_tools":
        tools = choice.get("tools")
        listed = [_tool_choice(tool) for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
        return {"type": "allowed_tools", "allowed_tools": {"mode": choice.get("mode", "auto"), "tools": listed}}
    if not isinstance(choice.get("name"), str):
        raise InvalidRequest('tool_choice: an object must be {"type": "function", "name": ...}')
    return {"type": "function", "function": {"name": choice["name"]}}


class _Items:
    """Input items become messages; what belongs to one turn of the assistant is put together again.

    Texts of a turn are joined once, at its end, so that the work grows with the input and no faster.
    """

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._contents: list[str] = []  # of the last message, if it is the assistant's
        self._thoughts: list[str] = []
        self._pending: list[str] = []  # reasoning whose message or call has not come yet
        self._answered: set[str] = set()

    def messages(self, given: Any) -> list[Message]:
        if isinstance(given, str):
            return [Message(role="user", content=given)] if given else []
        if not isinstance(given, list):
            raise InvalidRequest(f"input must be a string or array: {cut(given)}")
        for i, item in enumerate(given):
            self._add(item, f"input[{i}]")
        if self._pending:
            self._begin(Message(role="assistant"))
            self._think()
        self._join()
        return self._messages

    def _add(self, item: Any, place: str) -> None:
        if not isinstance(item, Mapping):
            raise InvalidRequest(f"{place}: expected an object")
        kind = item.get("type") or ("message" if item.get("role") else None)
        match kind:
            case "message":
                self._message(item, place)
            case "function_call":
                self._call(item)
            case "function_call_output":
                self._output(item, place)
            case "reasoning":
                self._pending += filter(None, [text_or_empty(item.get("encrypted_content"))])
            case "web_search_call":
                pass
            case None:
                raise InvalidRequest(f"{place}: input item missing required 'type' field")
            case _:
                raise InvalidRequest(f"{place}: unknown input item type: {cut(kind)}")

    def _message(self, item: Mapping[str, Any], place: str) -> None:
        content, images = _content(item.get("content"), place)
        message = Message(role=roles_of_ours(text_or_empty(item.get("role"))), images=images)
        if message.role != "assistant":
            message.content = content
            self._begin(message)
            return
        if not self._awaits_output():  # else it stands between a call and its output: all one turn
            self._begin(message)
        self._think()
        self._contents.append(content)

    def _call(self, item: Mapping[str, Any]) -> None:
        try:
            arguments = read_arguments(item.get("arguments"))
        except InvalidRequest as error:
            raise InvalidRequest(f"failed to parse function call arguments: {error}") from None
        if not self._messages or self._messages[-1].role != "assistant":
            self._begin(Message(role="assistant"))
        self._think()
        calls = self._messages[-1].tool_calls
        function = FunctionCall(name=text_or_empty(item.get("name")), arguments=arguments, index=len(calls))
        calls.append(ToolCall(id=text_or_empty(item.get("call_id")), function=function))

    def _output(self, item: Mapping[str, Any], place: str) -> None:
        content, images = _content(item.get("output"), place)
        call_id = text_or_empty(item.get("call_id"))
        self._answered.add(call_id)
        self._begin(Message(role="tool", content=content, images=images, tool_call_id=call_id))

    def _begin(self, message: Message) -> None:
        self._join()
        self._messages.append(message)

    def _think(self) -> None:
        """What was reasoned last belongs to the last message."""
        if self._pending:
            self._thoughts.append("".join(self._pending))
            self._pending = []

    def _join(self) -> None:
        """The last message has come to its end."""
        if self._contents or self._thoughts:
            last = self._messages[-1]
            last.content = "\n".join(filter(None, self._contents))
            last.thinking = "\n".join(self._thoughts)
            self._contents, self._thoughts = [], []

    def _awaits_output(self) -> bool:
        """Whether the last message is the assistant's, and a call of it has no output yet."""
        last = self._messages[-1] if self._messages else None
        if last is None or last.role != "assistant":
            return False
        return any(call.id not in self._answered for call in last.tool_calls)


def _content(given: Any, place: str) -> tuple[str, list[str]]:
    """(text parts joined, pictures)"""
    if isinstance(given, str) or given is None:
        return given or "", []
    if not isinstance(given, list):
        raise InvalidRequest(f"{place}: content must be a string or array")
    texts, images = [], []
    for j, part in enumerate(given):
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind in _TEXTS:
            texts.append(text_or_empty(part.get("text")))
        elif kind == "input_image":
            images += [image_of(part["image_url"])] if part.get("image_url") else []
        elif kind == "input_file":
            raise InvalidRequest("file inputs are not currently supported")
        else:
            raise InvalidRequest(f"{place}: content[{j}]: unknown content type: {str(kind)[:40]}")
    return "".join(texts), images
