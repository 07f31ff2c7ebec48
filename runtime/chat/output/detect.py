"""Which parser reads the answers of a model that no config speaks of: by what its chat template writes."""

from __future__ import annotations

from . import families as f
from .base import Chain, OutputParser, Passthrough
from .generic import GenericCalls
from .harmony import HarmonyParser
from .ministral import MinistralParser
from .registry import Beginning
from .tagged import CallSyntax, TaggedParser
from .thinking import ThinkingParser

__all__ = ["parser_for_go", "parser_for_jinja"]

# The first whose marks are all in the template counts.
_CALLS: tuple[tuple[tuple[str, ...], CallSyntax], ...] = (
    (("<tool_call>", "<function="), f.XML_CALLS),
    (("<tool_call>", "<arg_key>"), f.GLM_CALLS),
    (("<tool_call>",), f.JSON_CALLS),
    (("<|tool_call_start|>",), f.LFM_CALLS),
    (("<｜tool▁calls▁begin｜>",), f.DEEPSEEK_CALLS),
    (("<start_function_call>",), f.FUNCTIONGEMMA_CALLS),
    (("<|tool_call>",), f.GEMMA4_CALLS),
    (("<function_calls>",), f.OLMO_CALLS),
    (("<|START_ACTION|>",), f.COHERE_CALLS),
    (("[TOOL_CALLS]",), f.MISTRAL_CALLS),
)
_THINKING = (("<think>", "</think>"), ("[THINK]", "[/THINK]"), ("<|START_THINKING|>", "<|END_THINKING|>"))


def parser_for_jinja(source: str, beginning: Beginning, prompt: str) -> OutputParser:
    """For a Jinja template ``source`` and the ``prompt`` that it made. Without tools, no calls are looked for."""
    if "<|channel|>" in source and "<|start|>" in source:
        return HarmonyParser()
    if "[TOOL_CALLS]" in source and "[ARGS]" in source:
        return MinistralParser(beginning.tools)
    thinking = next((tags for tags in _THINKING if tags[0] in source or tags[1] in source), None)
    first = _thinking_parser(thinking, beginning, prompt)
    if not beginning.tools:
        return first or Passthrough()
    calls = next((syntax for marks, syntax in _CALLS if all(mark in source for mark in marks)), None)
    second: OutputParser = TaggedParser(None, calls, beginning.tools) if calls else GenericCalls("{", beginning.tools)
    return Chain(first, second) if first else second


def parser_for_go(
    thinking_tags: tuple[str, str] | None, tool_tag: str, beginning: Beginning, prompt: str
) -> OutputParser:
    """For a Go template that shows these tags."""
    first = _thinking_parser(thinking_tags, beginning, prompt)
    if not beginning.tools:
        return first or Passthrough()
    second = GenericCalls(tool_tag, beginning.tools)
    return Chain(first, second) if first else second


def _thinking_parser(tags: tuple[str, str] | None, beginning: Beginning, prompt: str) -> OutputParser | None:
    if tags is None or not beginning.think or beginning.prefill == "content":
        return None
    opening, closing = tags
    return ThinkingParser(opening, closing, inside=prompt.rstrip().endswith(opening))
