"""What the renderer and its worker process say to each other; each ``Job`` gets one ``Answer``."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ..killable.frames import encode_frame

__all__ = ["Answer", "GoChat", "GoInsert", "GoRequest", "Job", "ProbeTokens", "Task", "encode_frame"]

# jinja: render with data. go: a GoRequest as a prompt. inspect: GoFacts of a Go template. detect: the Family of a
# Jinja template, with ProbeTokens. The last two answer in JSON.
Task = Literal["jinja", "go", "inspect", "detect"]


class Job(msgspec.Struct, frozen=True, kw_only=True, tag="job"):
    """Do ``task`` on the template ``source`` with ``data``, an object in JSON, within ``timeout_s`` seconds."""

    source: str
    data: msgspec.Raw
    timeout_s: float
    task: Task = "jinja"


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag="answer"):
    """The rendered text, or why there is none."""

    text: str = ""
    error: str | None = None


class GoChat(msgspec.Struct, frozen=True, kw_only=True, tag="chat"):
    """The prompt of a conversation; messages and tools as the native API has them."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] = []
    think: bool | str | None = None


class GoInsert(msgspec.Struct, frozen=True, kw_only=True, tag="insert"):
    """The prompt of a text that goes between two others."""

    prompt: str
    suffix: str
    think: bool | str | None = None


GoRequest = GoChat | GoInsert


class ProbeTokens(msgspec.Struct, frozen=True, kw_only=True):
    """How a model's first and last token are written."""

    bos: str = ""
    eos: str = ""
