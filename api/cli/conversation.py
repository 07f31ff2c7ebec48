"""The state of a chat: which model, what was said, what was set. Plain data; prints and sends nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Conversation:
    """``options`` are the parameters the user set, ``messages`` the turns so far (the model's own are not in it)."""

    model: str
    keep_alive: str | None = None
    system: str = ""
    format: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    messages: list[dict[str, str]] = field(default_factory=list)

    def request(self, text: str) -> dict[str, Any]:
        """The body of ``/api/chat`` that asks for an answer to ``text``."""
        messages = [*self.messages, {"role": "user", "content": text}]
        if self.system:
            messages.insert(0, {"role": "system", "content": self.system})
        body: dict[str, Any] = {"model": self.model, "messages": messages, "options": self.options}
        if self.format:
            body["format"] = self.format
        return body if self.keep_alive is None else {**body, "keep_alive": self.keep_alive}

    def add_turn(self, text: str, answer: str) -> None:
        """The next request knows that ``text`` was answered with ``answer``."""
        self.messages += [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]

    def clear(self) -> None:
        """Forgets what was said, not what was set."""
        self.messages.clear()
