"""The state of a chat: which model, what was said, what was set. Plain data; prints and sends nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .abilities import Abilities


@dataclass
class Conversation:
    """``options`` are the parameters the user set, ``messages`` the turns so far (the model's own are not in it).

    ``think`` is what the user asked for, None for nothing: a model that can think then does.
    """

    model: str
    keep_alive: str | None = None
    system: str = ""
    format: str | dict[str, Any] = ""
    think: bool | str | None = None
    abilities: Abilities = field(default_factory=Abilities)
    options: dict[str, Any] = field(default_factory=dict)
    messages: list[dict[str, Any]] = field(default_factory=list)

    def request(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """The body of ``/api/chat`` that asks for an answer to ``message``."""
        messages = [*self.messages, message]
        if self.system:
            messages.insert(0, {"role": "system", "content": self.system})
        body: dict[str, Any] = {"model": self.model, "messages": messages, "options": self.options}
        if self.format:
            body["format"] = self.format
        think = wanted_thinking(self.think, self.abilities)
        if think is not None:
            body["think"] = think
        return body if self.keep_alive is None else {**body, "keep_alive": self.keep_alive}

    def add_turn(self, message: Mapping[str, Any], reply: Mapping[str, Any]) -> None:
        """The next request knows that ``message`` was answered with ``reply``."""
        self.messages += [dict(message), dict(reply)]

    def clear(self) -> None:
        """Forgets what was said, not what was set."""
        self.messages.clear()


def user_message(text: str, files: Sequence[str] = ()) -> dict[str, Any]:
    """``files`` are images and sounds in base64."""
    message: dict[str, Any] = {"role": "user", "content": text}
    return {**message, "images": list(files)} if files else message


def wanted_thinking(asked: bool | str | None, abilities: Abilities) -> bool | str | None:
    """The value of ``think`` in a request; None leaves it out."""
    if asked is not None:
        return asked
    return True if abilities.thinks else None
