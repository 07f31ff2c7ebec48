"""Runs a Go template on a conversation: which data it gets, and how often it is executed.

Runs where templates run; takes messages as the native API has them, marked by the guard already.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import TemplateError
from .go_template.evaluator import execute
from .go_template.inspect import cut_before_response, uses, with_response
from .go_template.template import GoTemplate, output_limit
from .go_template.values import JsonList, Value
from .go_values import message_record, think_values, tool_list
from .wire import GoChat, GoInsert, GoRequest

Message = dict[str, Any]

_BLANK_LINE = "\n\n"


class GoPrompts:
    """The prompts of one Go template. Raises TemplateError for a source that is none."""

    def __init__(self, source: str):
        self._tree = with_response(GoTemplate(source).tree)
        self._without_response = cut_before_response(self._tree)
        self._reads_messages = uses(self._tree, ".Messages")

    def prompt(self, request: GoRequest, n_bytes: int) -> str:
        """The prompt of ``request``, which came as ``n_bytes`` of JSON. Raises TemplateError."""
        try:
            return self._prompt(request, output_limit(n_bytes))
        except RecursionError:
            raise TemplateError("template data is nested too deeply") from None

    def _prompt(self, request: GoRequest, limit: int) -> str:
        if isinstance(request, GoInsert):
            return execute(self._tree, _insert_values(request), limit)
        if self._reads_messages:
            return self._of_messages(request, limit)
        return self._of_turns(request, limit)

    def _of_messages(self, request: GoChat, limit: int) -> str:
        """The template goes through the messages itself.

        A last message from the assistant begins the answer. Templates made for that leave it open at their end;
        for the others it goes behind the prompt of the messages before it. Thinking that has begun, and nothing
        else, is for templates of the first kind alone.
        """
        messages = collated(request.messages)
        turns, begun = split_answer(messages)
        end = begun or (messages[-1].get("thinking") if len(turns) < len(messages) else "")
        if end:
            prompt = execute(self._tree, _chat_values(messages, request), limit)
            if prompt.endswith(end):
                return prompt
        return execute(self._tree, _chat_values(turns, request), limit) + begun

    def _of_turns(self, request: GoChat, limit: int) -> str:
        """The template is for one turn. It is executed for each, the last time without an answer."""
        turns, begun = split_answer(collated(request.messages))
        *complete, last = paired(turns)
        think = think_values(request.think)
        prompts = [execute(self._tree, {**turn.values(), **think}, limit) for turn in complete]
        prompts.append(execute(self._without_response, {**last.values(), **think}, limit))
        return "".join(prompts) + begun


@dataclass(frozen=True)
class Turn:
    """What a template for one turn is given."""

    system: str = ""
    prompt: str = ""
    response: str = ""

    def values(self) -> dict[str, Value]:
        return {"System": self.system, "Prompt": self.prompt, "Response": self.response}


def collated(messages: Sequence[Message]) -> list[Message]:
    """Neighbours of the same role as one message, results of tools aside. Nothing of either is lost."""
    merged: list[Message] = []
    for message in messages:
        if merged and merged[-1].get("role") == message.get("role") != "tool":
            merged[-1] = _joined(merged[-1], message)
        else:
            merged.append(message)
    return merged


def paired(messages: Sequence[Message]) -> Iterator[Turn]:
    """Messages as turns of system text, question and answer; other roles have no place in them. At least one turn."""
    turn = Turn()
    for message in messages:
        role, content = message.get("role"), message.get("content") or ""
        if role == "system":
            if turn.prompt or turn.response:
                yield turn
                turn = Turn()
            turn = Turn(content, turn.prompt, turn.response)
        elif role == "user":
            if turn.response:
                yield turn
                turn = Turn()
            turn = Turn(turn.system, content, turn.response)
        elif role == "assistant":
            turn = Turn(turn.system, turn.prompt, content)
    yield turn


def split_answer(messages: Sequence[Message]) -> tuple[Sequence[Message], str]:
    """The messages, and the text of an answer that the last one begins."""
    if not messages or messages[-1].get("role") != "assistant" or messages[-1].get("tool_calls"):
        return messages, ""
    return messages[:-1], messages[-1].get("content") or ""


def _joined(first: Message, second: Message) -> Message:
    whole = {**first, **second}
    for key in ("content", "thinking"):
        texts = [text for message in (first, second) if (text := message.get(key))]
        whole |= {key: _BLANK_LINE.join(texts)} if texts else {}
    for key in ("images", "tool_calls"):
        items = [*(first.get(key) or ()), *(second.get(key) or ())]
        whole |= {key: items} if items else {}
    return whole


def _chat_values(messages: Sequence[Message], request: GoChat) -> dict[str, Value]:
    systems = [message.get("content") or "" for message in messages if message.get("role") == "system"]
    return {
        "System": _BLANK_LINE.join(systems),
        "Messages": JsonList(map(message_record, messages)),
        "Tools": tool_list(request.tools),
        "Response": "",
        **think_values(request.think),
    }


def _insert_values(request: GoInsert) -> dict[str, Value]:
    return {"Prompt": request.prompt, "Suffix": request.suffix, "Response": "", **think_values(request.think)}
