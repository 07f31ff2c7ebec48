"""A conversation that does not fit into the context loses its oldest messages.

As Ollama does it: one message after the other goes, but never a system message, and never the last one; pairs are
not kept together. A last message that is too long by itself loses its middle later, in the runner.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

_OPEN, _CLOSE = "<think>", "</think>"

Message = dict[str, Any]
Render = Callable[[Sequence[Message]], Awaitable[str]]
Count = Callable[[str], Awaitable[int]]


async def fitting_prompt(messages: Sequence[Message], render: Render, count: Count, n_ctx: int) -> tuple[str, int]:
    """(prompt, how many messages went): the longest rest of ``messages`` whose prompt has at most ``n_ctx`` tokens.

    Prompts become no longer when more messages go, so the number is found by halving.
    """
    fewest, most = 0, len(messages) - 1
    while fewest < most:
        middle = (fewest + most) // 2
        if await count(await render(without_oldest(messages, middle))) <= n_ctx:
            most = middle
        else:
            fewest = middle + 1
    rest = without_oldest(messages, fewest)
    return await render(rest), len(messages) - len(rest)


def without_old_thinking(messages: Sequence[Message]) -> list[Message]:
    """``messages`` without the thinking that earlier answers, those before the last question, begin with."""
    questions = [i for i, message in enumerate(messages) if message["role"] == "user"]
    last = questions[-1] if questions else 0
    kept = list(messages)
    for i, message in enumerate(messages[:last]):
        if message["role"] == "assistant":
            kept[i] = {**message, "content": _thoughtless(message["content"])}
    return kept


def _thoughtless(text: str) -> str:
    begun = text.lstrip()
    if not begun.startswith(_OPEN):
        return text
    _, closing, rest = begun.partition(_CLOSE)
    return rest.lstrip() if closing else text


def without_oldest(messages: Sequence[Message], n: int) -> list[Message]:
    """``messages`` without the first ``n``, of which system messages stay."""
    return [message for message in messages[:n] if message["role"] == "system"] + list(messages[n:])
