"""Which parser reads a model's answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from gristmill.runtime.chat.output import RENDERERS, Beginning, OutputParser, make_parser, parser_for_jinja
from gristmill.runtime.errors import GristmillError, cut

from .service import Target

__all__ = ["check_renderer", "parser_name", "parser_of"]

_HARMONY_FAMILIES = ("gptoss", "gpt-oss")


def check_renderer(target: Target) -> None:
    """Raises GristmillError where the model's config names a renderer that nobody knows."""
    renderer = target.model.config.renderer
    if renderer and renderer not in RENDERERS:
        raise GristmillError(f"unknown renderer {cut(renderer)}")


def parser_name(target: Target) -> str:
    """The built-in parser that the model's config, or its family, asks for; empty where its template decides."""
    if target.model.config.parser:
        return target.model.config.parser
    return "harmony" if target.facts.family in _HARMONY_FAMILIES else ""


def parser_of(
    target: Target,
    prompt: str,
    *,
    tools: Sequence[dict[str, Any]],
    think: bool | str | None,
    messages: Sequence[dict[str, Any]],
) -> OutputParser:
    """For the answer to ``prompt``, which the model's template made of ``messages``."""
    beginning = Beginning(tools, bool(think), _prefill(messages), _is_after_tool(messages))
    named = make_parser(parser_name(target), beginning)
    return named or parser_for_jinja(target.facts.chat_template or "", beginning, prompt)


def _prefill(messages: Sequence[dict[str, Any]]) -> Literal["none", "content", "thinking"]:
    if not messages or messages[-1]["role"] != "assistant" or messages[-1].get("tool_calls"):
        return "none"
    if messages[-1].get("content"):
        return "content"
    return "thinking" if messages[-1].get("thinking") else "none"


def _is_after_tool(messages: Sequence[dict[str, Any]]) -> bool:
    return bool(messages) and messages[-1]["role"] == "tool"
