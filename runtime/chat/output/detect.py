"""A parser for models that name none: by the tags that their template shows, or by tags that are known.

A template writes earlier calls in the form that the model learned, so its text holds the form's tags.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .base import CallFormat, OutputParser
from .declared import Declared
from .deepseek import OUTPUTS, DeepSeekCalls
from .forms import CallForm
from .gemma import GEMMA4_LEFTOVERS, functiongemma_calls, gemma4_calls
from .generic import Chain, GenericCalls, GenericThinking, Passthrough
from .glimmer import GlimmerParser
from .glm import laguna_calls
from .harmony import HarmonyParser, parse_header
from .json_calls import cohere_actions, json_calls, nemotron2_calls
from .messages import MESSAGE, START
from .mistral import MistralList, NameAndArguments
from .python_calls import Lfm2Calls, olmo_calls
from .registry import COHERE_TEXT, COHERE_THINK, MISTRAL_THINK
from .tagged import Start, TaggedParser, Thinking
from .xml import xml_calls

# The first row counts whose texts are all in the template.
_FORMS: tuple[tuple[tuple[str, ...], Callable[[Declared], CallForm]], ...] = (
    (("<｜tool▁call▁begin｜>",), lambda tools: DeepSeekCalls()),
    (("<|START_ACTION|>",), lambda tools: cohere_actions()),
    (("[TOOL_CALLS]", "[ARGS]"), NameAndArguments),
    (("[TOOL_CALLS]",), lambda tools: MistralList()),
    (("<|tool_call_start|>",), Lfm2Calls),
    (("<start_function_call>",), lambda tools: functiongemma_calls()),
    (("<|tool_call>",), lambda tools: gemma4_calls()),
    (("<function_calls>",), lambda tools: olmo_calls()),
    (("<tool_call>", "<function="), xml_calls),
    (("<tool_call>", "<arg_key>"), laguna_calls),
    (("<tool_call>",), lambda tools: json_calls()),
    (("<TOOLCALL>",), lambda tools: nemotron2_calls()),
)
_THINKING = (
    MISTRAL_THINK,
    COHERE_THINK,
    Thinking("<|channel>", "<channel|>", label="thought\n", reopens=True),
)
# Closing tags of the word "think" and its kin: <think>, <thinking>, <seed:think>, ...
_CLOSING_TAG = re.compile(r"</((?:\w{1,16}:)?(?:think|thinking|thought|reasoning))>")
_IGNORED = {"<|START_ACTION|>": COHERE_TEXT, "<|tool_call>": GEMMA4_LEFTOVERS, "<｜tool▁call▁begin｜>": OUTPUTS}
_GENERIC_TAGS = ("<|tool_call|>",)  # Granite
_LLAMA = CallFormat("", "", "name", "parameters")


def parser_for_template(
    jinja_source: str,
    *,
    tools: Sequence[Mapping[str, Any]] = (),
    think: bool | str | None = None,
    prompt_end: str = "",
) -> OutputParser:
    """The parser for an answer to a prompt that ``jinja_source`` rendered and that ends with ``prompt_end``.

    Without ``tools`` no calls are looked for. With ``think`` false thinking is looked for only where the prompt
    has opened it. A few dozen characters of ``prompt_end`` are enough.
    """
    declared = Declared(tools)
    if "<|channel|>" in jinja_source and "<|start|>" in jinja_source:
        return HarmonyParser(declared, channel=_open_channel(prompt_end))
    if "<atem:function_calls>" in jinja_source:
        return GlimmerParser(declared, thinking=think is not False)
    thinking = _thinking(jinja_source)
    start = _start(thinking, think, prompt_end)
    mark, form = _form(jinja_source, declared)
    if declared and form is None:
        tag = next((tag for tag in _GENERIC_TAGS if tag in jinja_source), "{")
        return _generic(thinking, start, GenericCalls(tag, declared, _LLAMA if tag == "{" else None))
    if thinking and thinking.reopens:
        thinking = replace(thinking, shown=think is not False)
    elif start is Start.CONTENT:
        thinking = None
    return TaggedParser(
        start=start,
        thinking=thinking,
        calls=form,
        calls_end_thinking=mark == "<tool_call>",
        ignored=next((tags for mark, tags in _IGNORED.items() if mark in jinja_source), ()),
    )


def parser_for_go(
    thinking_tags: tuple[str, str] | None,
    tool_tag: str,
    *,
    tools: Sequence[Mapping[str, Any]] = (),
    think: bool | str | None = None,
    prompt: str = "",
) -> OutputParser:
    """The parser for a Go template, of which only the tags are known. ``tool_tag`` "" stands for ``{``.

    Thinking is looked for if there are tags and ``think`` is on, calls if there are ``tools``.
    """
    declared = Declared(tools)
    thinking = Thinking(*thinking_tags) if thinking_tags and all(thinking_tags) and think else None
    start = _start(thinking, think, prompt)
    return _generic(thinking, start, GenericCalls(tool_tag or "{", declared) if declared else Passthrough())


def _generic(thinking: Thinking | None, start: Start, calls: OutputParser) -> OutputParser:
    if thinking is None or start is Start.CONTENT:
        return calls
    return Chain(GenericThinking(thinking.open, thinking.close, opened=start is Start.THINKING), calls)


def _form(source: str, tools: Declared) -> tuple[str, CallForm | None]:
    """The form of calls that ``source`` shows, and its first mark; none without ``tools``."""
    for marks, make in _FORMS:
        if tools and all(mark in source for mark in marks):
            return marks[0], make(tools)
    return "", None


def _thinking(source: str) -> Thinking | None:
    """The thinking tags that ``source`` shows."""
    for thinking in _THINKING:
        if thinking.open in source or thinking.close in source:
            return thinking
    found = _CLOSING_TAG.search(source)
    return Thinking(f"<{found.group(1)}>", found.group()) if found else None


def _start(thinking: Thinking | None, think: bool | str | None, prompt: str) -> Start:
    """Where an answer to ``prompt`` begins."""
    prompt = prompt.rstrip()
    if thinking is None or prompt.endswith(thinking.close):
        return Start.CONTENT
    if prompt.endswith((thinking.open, thinking.open + thinking.label.rstrip())):
        return Start.THINKING
    return Start.CONTENT if think is False else Start.LOOK


def _open_channel(prompt: str) -> str | None:
    """The channel of a message that ``prompt`` has begun and not ended."""
    header, message, body = prompt.rpartition(START)[2].partition(MESSAGE)
    return parse_header(header)[0] if message and "<|end|>" not in body else None
