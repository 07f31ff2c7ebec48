"""The parsers that a model's config may name, and how each one begins. See docs/output.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from . import families as f
from .base import OutputParser, Passthrough, Tools
from .glimmer import GlimmerParser
from .harmony import HarmonyParser, tool_names
from .ministral import MinistralParser
from .tagged import CallSyntax, TaggedParser, Thinking

__all__ = ["BUILT_IN", "RENDERERS", "Beginning", "ParserSpec", "make_parser"]

Prefill = Literal["none", "content", "thinking"]


@dataclass(frozen=True)
class Beginning:
    """What is known when the answer begins. ``prefill``: what of it the request has written already."""

    tools: Tools = ()
    think: bool = True
    prefill: Prefill = "none"
    after_tool: bool = False  # the last message is a tool's answer


@dataclass(frozen=True)
class ParserSpec:
    """What a parser finds, and how it is made."""

    tools: bool
    thinking: bool
    make: Callable[[Beginning], OutputParser]


def make_parser(name: str, beginning: Beginning) -> OutputParser | None:
    """The parser ``name``; None where there is none of this name, which counts as no parser at all."""
    spec = BUILT_IN.get(name)
    return spec.make(beginning) if spec else None


def _thinks(b: Beginning) -> bool:
    return b.think and b.prefill != "content"


def _inside(thinking: Thinking, calls: CallSyntax | None, *, dropped: tuple[str, ...] = ()) -> ParserSpec:
    """Begins in its thinking, unless that is off or the answer has begun."""

    def make(b: Beginning) -> OutputParser:
        starts: Literal["inside", "content"] = "inside" if _thinks(b) else "content"
        return TaggedParser(thinking, calls, b.tools, starts=starts, dropped=dropped)

    return ParserSpec(calls is not None, True, make)


def _looking(thinking: Thinking, calls: CallSyntax | None) -> ParserSpec:
    """May begin with its thinking, which the opening tag shows."""

    def make(b: Beginning) -> OutputParser:
        starts: Literal["looking", "content"] = "looking" if _thinks(b) else "content"
        return TaggedParser(thinking, calls, b.tools, starts=starts)

    return ParserSpec(calls is not None, True, make)


def _plain(calls: CallSyntax) -> ParserSpec:
    return ParserSpec(True, False, lambda b: TaggedParser(None, calls, b.tools))


def _cogito(b: Beginning) -> OutputParser:
    starts: Literal["inside", "content"] = "inside" if _thinks(b) and not b.tools else "content"
    return TaggedParser(f.THINK, f.COGITO_CALLS, b.tools, starts=starts)


def _gemma4(b: Beginning) -> OutputParser:
    starts: Literal["inside", "content"] = "inside" if b.after_tool and _thinks(b) else "content"
    return TaggedParser(f.GEMMA_THINK, f.GEMMA4_CALLS, b.tools, starts=starts, hides_thinking=not b.think)


def _harmony(b: Beginning) -> OutputParser:
    begun: Literal["header", "final", "analysis"] = "header"
    if b.prefill != "none":
        begun = "final" if b.prefill == "content" else "analysis"
    names = [(tool.get("function") or {}).get("name", "") for tool in b.tools]
    return HarmonyParser(begun=begun, names=tool_names(names))


BUILT_IN: dict[str, ParserSpec] = {
    "passthrough": ParserSpec(False, False, lambda b: Passthrough()),
    "qwen3": _plain(f.JSON_CALLS),
    "qwen3-thinking": _inside(f.THINK_TO_CALL, f.JSON_CALLS),
    "qwen3-vl-instruct": _plain(f.JSON_CALLS),
    "qwen3-vl-thinking": _inside(f.THINK, f.JSON_CALLS),
    "qwen3-coder": _plain(f.XML_CALLS),
    "qwen3.5": _inside(f.THINK, f.XML_CALLS),
    "ornith": _inside(f.THINK, f.XML_CALLS),
    "nemotron-3-nano": _inside(f.THINK_TO_CALL, f.XML_CALLS),
    "nemotron-3.5-nano": _inside(f.THINK_TO_CALL, f.XML_CALLS),
    "deepseek3": _inside(f.THINK, f.DEEPSEEK_CALLS),
    "cogito": ParserSpec(True, True, _cogito),
    "glm-4.7": _inside(f.THINK, f.GLM_CALLS),
    "glm-ocr": ParserSpec(True, False, _looking(f.THINK, f.GLM_CALLS).make),
    "laguna": _inside(f.THINK, f.LAGUNA_CALLS),
    "poolside-v1": _inside(f.THINK, f.LAGUNA_CALLS),
    "gemma4": ParserSpec(True, True, _gemma4),
    "gemma4-no-thinking": ParserSpec(True, False, _gemma4),
    "functiongemma": _plain(f.FUNCTIONGEMMA_CALLS),
    "olmo3": _plain(f.OLMO_CALLS),
    "olmo3-think": _inside(f.THINK, None),
    "lfm2": _plain(f.LFM_CALLS),
    "lfm2-thinking": _looking(f.THINK, f.LFM_CALLS),
    "ministral": ParserSpec(True, False, lambda b: MinistralParser(b.tools)),
    "cohere": _inside(f.COHERE_THINK, f.COHERE_CALLS, dropped=f.COHERE_TEXT),
    "glimmer": ParserSpec(True, True, lambda b: GlimmerParser(b.tools)),
    "harmony": ParserSpec(True, True, _harmony),
}

# Names of Ollama's built-in prompt writers. Here the model file's own template does their work.
RENDERERS = frozenset(
    {"qwen3-coder", "qwen3-vl-instruct", "qwen3-vl-thinking", "qwen3.5", "qwen3.8", "ornith", "cogito", "deepseek3.1"}
    | {"olmo3", "olmo3.1", "olmo3-think", "olmo3-32b-think", "nemotron-3-nano", "nemotron-3.5-nano", "gemma4"}
    | {"gemma4-small", "gemma4-large", "functiongemma", "glm-4.7", "glm-ocr", "lfm2", "lfm2-thinking", "laguna"}
    | {"poolside-v1", "cohere", "glimmer"}
)
