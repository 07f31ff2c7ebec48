"""What OpenAI's objects have in common: ids, counts, reasons, sampling fields."""

from __future__ import annotations

import random
from typing import Any, Protocol

import msgspec

__all__ = ["FINGERPRINT", "StreamOptions", "Usage", "finish_reason", "json_text", "new_id", "sampling_of"]

FINGERPRINT = "fp_ollama"
_MAX_SEED = 2**31 - 1


class StreamOptions(msgspec.Struct):
    include_usage: bool = False


class SamplingFields(Protocol):
    """The fields that requests share."""

    temperature: float | None
    top_p: float | None
    seed: int | None
    frequency_penalty: float | None
    presence_penalty: float | None
    top_k: int | None
    min_p: float | None
    repeat_penalty: float | None
    options: dict[str, Any]


def sampling_of(
    body: SamplingFields, choice: int, *, default_temperature: float, default_top_p: float
) -> dict[str, Any]:
    """Native options; ``options`` of the request come first, and a seed is another one for each choice."""
    options: dict[str, Any] = {"temperature": default_temperature, "top_p": default_top_p, **body.options}
    for name in ("temperature", "top_p", "frequency_penalty", "presence_penalty", "top_k", "min_p", "repeat_penalty"):
        if (value := getattr(body, name)) is not None:
            options[name] = value
    if body.seed is not None:
        options["seed"] = (body.seed + choice) % _MAX_SEED if choice else body.seed
    return options


class Usage:
    """Counts of all choices: the prompt's once, the answers' together."""

    def __init__(self) -> None:
        self.prompt = self.cached = self.completion = 0

    def add(self, line: dict[str, Any]) -> None:
        """``line`` is the last one of a choice."""
        self.prompt = max(self.prompt, line.get("prompt_eval_count", 0))
        self.cached = max(self.cached, line.get("prompt_cached_count", 0))
        self.completion += line.get("eval_count", 0)

    def shown(self) -> dict[str, Any]:
        counts: dict[str, Any] = {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
        }
        return {**counts, "prompt_tokens_details": {"cached_tokens": self.cached}} if self.cached else counts


def finish_reason(line: dict[str, Any], *, called: bool = False) -> str | None:
    """Of the last native line. A turn that ended in calls says so."""
    reason = line.get("done_reason") or None
    return "tool_calls" if called and reason == "stop" else reason


def new_id(kind: str) -> str:
    return f"{kind}-{random.randrange(10**9)}"


def json_text(value: Any) -> str:
    """Compact JSON, as tool arguments are given."""
    return msgspec.json.encode(value).decode()
