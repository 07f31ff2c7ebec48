"""What OpenAI's objects have in common: their first keys, counts, reasons; and what makes the frames of a stream."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from ..answer import Line

__all__ = ["DONE", "FrameMaker", "Head", "finish_reason", "json_text", "new_head", "usage"]

DONE = b"data: [DONE]\n\n"
_FINGERPRINT = "fp_ollama"
_MAX_ID = 10**15


@dataclass(frozen=True)
class Head:
    """The keys that an answer and all frames of it begin with. ``created`` is in Unix seconds."""

    id: str
    object: str
    created: int
    model: str

    def with_fields(self, **fields: Any) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": self.object,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": _FINGERPRINT,
            **fields,
        }


class FrameMaker(Protocol):
    """Makes frames of native lines. Pure: what it returns depends on what it was told before, and on nothing else."""

    def frames(self, index: int, line: Line) -> Iterable[dict[str, Any]]:
        """Of the next line of the choice ``index``."""

    def end(self) -> Iterable[dict[str, Any]]:
        """Of the end, when all choices have had their last line."""


def new_head(prefix: str, kind: str, model: str) -> Head:
    """Of an answer that begins now."""
    return Head(f"{prefix}-{secrets.randbelow(_MAX_ID)}", kind, int(time.time()), model)


def json_text(value: Any) -> str:
    """Compact JSON, as arguments of calls are given."""
    return msgspec.json.encode(value).decode()


def finish_reason(line: Line, *, has_calls: bool = False) -> str | None:
    """Of a last line. An answer with calls ends for their sake, unless it was cut."""
    reason: str | None = line.get("done_reason") or None
    return "tool_calls" if reason == "stop" and has_calls else reason


def usage(last_lines: Sequence[Line], n: int) -> dict[str, Any]:
    """Tokens of all choices, of which ``n`` each share a prompt, which counts once.

    What was found in the cache is that of the choice which found least: the others found what it had computed.
    """
    groups = [last_lines[i : i + n] for i in range(0, len(last_lines), n)]
    n_prompt = sum(group[0].get("prompt_eval_count", 0) for group in groups)
    n_cached = sum(min(line.get("prompt_cached_count", 0) for line in group) for group in groups)
    n_output = sum(line.get("eval_count", 0) for line in last_lines)
    return {
        "prompt_tokens": n_prompt,
        "completion_tokens": n_output,
        "total_tokens": n_prompt + n_output,
        "prompt_tokens_details": {"cached_tokens": n_cached},
    }
