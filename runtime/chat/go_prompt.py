"""The prompt that a Go template makes of a request. What ``prompt`` is for Jinja templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .guard import TextGuard
from .renderer import Renderer
from .wire import GoChat, GoInsert

Message = Mapping[str, Any]


def go_prompt_data(
    messages: Sequence[Message],
    *,
    guard: TextGuard,
    tools: Sequence[Mapping[str, Any]] | None = None,
    think: bool | str | None = None,
) -> GoChat:
    """What the renderer is given for a chat: messages and tools of the native API with the guard's marks."""
    return GoChat(messages=guard.messages(messages), tools=guard.tree(list(tools or ())), think=think)


async def render_go_chat(
    renderer: Renderer,
    source: str,
    messages: Sequence[Message],
    *,
    guard: TextGuard,
    tools: Sequence[Mapping[str, Any]] | None = None,
    think: bool | str | None = None,
) -> str:
    """The prompt for a chat, with the guard's marks in it.

    A last message from the assistant is the beginning of the answer: the prompt ends with it. ``think`` becomes
    ``.Think``, ``.ThinkLevel`` and ``.IsThinkSet``. Raises TemplateError.
    """
    return await renderer.render_go(source, go_prompt_data(messages, guard=guard, tools=tools, think=think))


async def render_go_generate(
    renderer: Renderer,
    source: str,
    *,
    prompt: str,
    guard: TextGuard,
    suffix: str = "",
    system: str = "",
    history: Sequence[Message] = (),
    think: bool | str | None = None,
) -> str:
    """The prompt for one question; with a ``suffix``, for what goes between ``prompt`` and that.

    Without one it is a chat of ``system``, ``history`` and the question. Raises TemplateError.
    """
    if prompt and suffix:
        between = GoInsert(prompt=guard.text(prompt), suffix=guard.text(suffix), think=think)
        return await renderer.render_go(source, between)
    messages: list[Message] = [{"role": "system", "content": system}] if system else []
    messages += [*history, {"role": "user", "content": prompt}]
    return await render_go_chat(renderer, source, messages, guard=guard, think=think)
