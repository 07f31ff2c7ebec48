"""The families' formats, as data: which tags, and how what stands between them is read."""

from __future__ import annotations

from dataclasses import replace

from .base import CallFormat
from .bodies import (
    cogito_calls,
    cohere_calls,
    deepseek_calls,
    glm_call,
    glm_unclosed,
    json_call,
    laguna_call,
    mistral_calls,
    python_calls,
    xml_call,
)
from .gemma import gemma_calls
from .tagged import CallSyntax, Thinking

THINK = Thinking()
THINK_TO_CALL = Thinking(cut_by=("<tool_call>",))
COHERE_THINK = Thinking("<|START_THINKING|>", "<|END_THINKING|>")
GEMMA_THINK = Thinking("<|channel>thought\n", "<channel|>", again=True)

JSON_CALLS = CallSyntax(
    "<tool_call>",
    "</tool_call>",
    json_call,
    broken="error",
    format=CallFormat("<tool_call>\n", "\n</tool_call>"),
)
XML_CALLS = CallSyntax("<tool_call>", "</tool_call>", xml_call, broken="error")
GLM_CALLS = CallSyntax("<tool_call>", "</tool_call>", glm_call, broken="error", unclosed=glm_unclosed)
LAGUNA_CALLS = replace(GLM_CALLS, read=laguna_call)
DEEPSEEK_CALLS = CallSyntax("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", deepseek_calls)
COGITO_CALLS = replace(DEEPSEEK_CALLS, read=cogito_calls)
GEMMA4_CALLS = CallSyntax("<|tool_call>", "<tool_call|>", gemma_calls('<|"|>', '<|"|>'))
FUNCTIONGEMMA_CALLS = CallSyntax("<start_function_call>", "<end_function_call>", gemma_calls("<escape>", "<escape>"))
OLMO_CALLS = CallSyntax("<function_calls>", "</function_calls>", python_calls)
LFM_CALLS = CallSyntax("<|tool_call_start|>", "<|tool_call_end|>", python_calls)
COHERE_CALLS = CallSyntax("<|START_ACTION|>", "<|END_ACTION|>", cohere_calls)
COHERE_TEXT = ("<|START_TEXT|>", "<|END_TEXT|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>")
# Mistral's list of calls is the turn's end, so no tag closes it.
MISTRAL_CALLS = CallSyntax(
    "[TOOL_CALLS]", "</s>", mistral_calls, unclosed=mistral_calls, format=CallFormat("[TOOL_CALLS]", "")
)
