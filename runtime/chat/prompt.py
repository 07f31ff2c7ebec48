"""What a template is given, and the prompt that comes of it.

Takes messages as the native API has them and shapes them as Hugging Face's templates expect them. Knows no
vocabulary and no request; what the roles are and in which order is left to the template.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import InvalidRequest, TemplateError
from .guard import TextGuard

if TYPE_CHECKING:  # the worker makes data with this module, and needs no asyncio
    from .renderer import Renderer

Message = Mapping[str, Any]

# For models that bring no template.
CHATML_TEMPLATE = """\
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""


def plain_prompt(system: str, prompt: str) -> str:
    """The prompt of a model without a template: as it is, a system text above it."""
    return f"{system}\n\n{prompt}" if system else prompt


def chat_data(
    messages: Sequence[Message],
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
    bos_token: str = "",
    eos_token: str = "",
    think: bool | str | None = None,
    text_arguments: bool = False,
    typed_content: bool = False,
) -> dict[str, Any]:
    """The variables of a chat template.

    ``messages`` have ``role`` and ``content``, and where they apply ``tool_calls``, ``tool_call_id`` and
    ``tool_name``; other keys (``thinking``, ``images``) are not handed on. ``think`` becomes ``enable_thinking``,
    and ``reasoning_effort`` where it is a level. The arguments of a tool call are an object, or JSON text with
    ``text_arguments``; the content of a message is a text, or with ``typed_content`` a list of one typed part.
    """
    data: dict[str, Any] = {
        "messages": [_template_message(message, text_arguments, typed_content) for message in messages],
        "tools": list(tools) if tools else None,
        "documents": None,
        "add_generation_prompt": True,
        "bos_token": bos_token,
        "eos_token": eos_token,
    }
    if think is not None:
        data["enable_thinking"] = bool(think)
    if isinstance(think, str):
        data["reasoning_effort"] = think
    return data


async def render_chat(
    renderer: Renderer,
    source: str,
    messages: Sequence[Message],
    *,
    guard: TextGuard,
    tools: Sequence[Mapping[str, Any]] | None = None,
    bos_token: str = "",
    eos_token: str = "",
    think: bool | str | None = None,
) -> str:
    """The prompt for a chat, with the guard's marks in it; parameters are as for ``chat_data``.

    A last message from the assistant is the beginning of the answer: it ends the prompt as it is. Templates
    differ in whether a tool call's arguments are an object or JSON text, and a message's content a text or a list of
    parts; the second is tried where the first fails, or says nothing of the question. Raises TemplateError, and
    InvalidRequest for two assistant messages at the end.
    """
    turns, begun = _split_prefill(guard.messages(messages))

    def data(text_arguments: bool, typed_content: bool = False) -> dict[str, Any]:
        return chat_data(
            turns,
            tools=guard.tree(tools),
            bos_token=bos_token,
            eos_token=eos_token,
            think=think,
            text_arguments=text_arguments,
            typed_content=typed_content,
        )

    try:
        prompt = await renderer.render(source, data(False))
    except TemplateError:
        if not any(message.get("tool_calls") for message in turns):
            raise
        prompt = await renderer.render(source, data(True))
    question = _question(turns)
    if question not in prompt:
        with contextlib.suppress(TemplateError):
            typed = await renderer.render(source, data(False, typed_content=True))
            prompt = typed if question in typed else prompt
    return prompt + begun


def _question(turns: Sequence[Message]) -> str:
    """What a user said last."""
    asked = [message.get("content") or "" for message in turns if message.get("role") == "user"]
    return asked[-1].strip() if asked else ""


def _split_prefill(messages: Sequence[Message]) -> tuple[Sequence[Message], str]:
    """Turns, and the text of an answer that the last message begins. Follows llama.cpp's server."""
    if not messages or messages[-1].get("role") != "assistant" or messages[-1].get("tool_calls"):
        return messages, ""
    if len(messages) > 1 and messages[-2].get("role") == "assistant":
        raise InvalidRequest("messages end with two assistant messages; only one can begin the answer")
    return messages[:-1], messages[-1].get("content") or ""


def _template_message(message: Message, text_arguments: bool, typed_content: bool) -> dict[str, Any]:
    content = message.get("content") or ""
    parts = [{"type": "text", "text": content}]
    shaped: dict[str, Any] = {"role": message.get("role", ""), "content": parts if typed_content else content}
    if calls := message.get("tool_calls"):
        shaped["tool_calls"] = [_template_call(call, text_arguments) for call in calls]
    if call_id := message.get("tool_call_id"):
        shaped["tool_call_id"] = call_id
    if name := message.get("tool_name") or message.get("name"):
        shaped["name"] = name
    return shaped


def _template_call(call: Mapping[str, Any], text_arguments: bool) -> dict[str, Any]:
    function = call.get("function") or {}
    arguments = function.get("arguments") or {}
    if text_arguments and not isinstance(arguments, str):
        arguments = msgspec.json.encode(arguments).decode()
    shaped = {"type": "function", "function": {"name": function.get("name", ""), "arguments": arguments}}
    return {"id": call["id"], **shaped} if call.get("id") else shaped
