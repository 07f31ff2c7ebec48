"""The parsers that a model's configuration can name, and how each begins an answer.

Names, capabilities and beginnings are Ollama's, which finds the same names in the same model folders.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from .base import OutputParser
from .declared import Declared
from .deepseek import OUTPUTS, DeepSeekCalls
from .gemma import GEMMA4_LEFTOVERS, functiongemma_calls, gemma4_calls
from .generic import Passthrough
from .glimmer import GlimmerParser
from .glm import glm_calls, laguna_calls
from .harmony import HarmonyParser
from .json_calls import cohere_actions, json_calls
from .mistral import NameAndArguments
from .python_calls import Lfm2Calls, olmo_calls
from .tagged import Start, TaggedParser, Thinking
from .xml import xml_calls

Prefill = Literal["none", "content", "thinking"]

THINK = Thinking()
MISTRAL_THINK = Thinking("[THINK]", "[/THINK]", reopens=True)
COHERE_THINK = Thinking("<|START_THINKING|>", "<|END_THINKING|>", reopens=True)
COHERE_TEXT = (
    "<|START_TEXT|>", "<|END_TEXT|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|END_OF_TURN_TOKEN|>",
)  # fmt: skip

# Prompt renderers that a configuration can name. The prompt itself comes from the model file's own template.
RENDERERS = frozenset(
    {
        "cogito", "cohere", "deepseek3.1", "functiongemma", "gemma4", "gemma4-large", "gemma4-small", "glimmer",
        "glm-4.7", "glm-ocr", "laguna", "lfm2", "lfm2-thinking", "nemotron-3-nano", "nemotron-3.5-nano", "olmo3",
        "olmo3-32b-think", "olmo3-think", "olmo3.1", "ornith", "poolside-v1", "qwen3-coder", "qwen3-vl-instruct",
        "qwen3-vl-thinking", "qwen3.5", "qwen3.8",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Setup:
    """What of a request decides how its answer is read. ``think`` None: not asked for, not forbidden."""

    tools: Declared
    think: bool | str | None = None
    prefill: Prefill = "none"
    last_role: str = ""

    @property
    def asked(self) -> bool:
        """Thinking was asked for, and the answer does not begin in content."""
        return bool(self.think) and self.prefill != "content"

    @property
    def not_off(self) -> bool:
        """Thinking was not forbidden, and the answer does not begin in content."""
        return self.think is not False and self.prefill != "content"


@dataclass(frozen=True)
class ParserSpec:
    """A parser's capabilities, and how to make one for a request."""

    tools: bool
    thinking: bool
    make: Callable[[Setup], OutputParser]


def make_parser(
    name: str,
    *,
    tools: Sequence[Mapping[str, Any]] = (),
    think: bool | str | None = None,
    prefill: Prefill = "none",
    last_role: str = "",
) -> OutputParser | None:
    """A parser for one answer; None for an unknown ``name``.

    ``tools`` are in the native API's form, ``prefill`` is the part of the answer that the last message begins,
    ``last_role`` the role of that message.
    """
    spec = BUILT_IN.get(name)
    return spec.make(Setup(Declared(tools), think, prefill, last_role)) if spec else None


def _begin(thinks: bool) -> Start:
    return Start.THINKING if thinks else Start.CONTENT


def _qwen3(setup: Setup) -> OutputParser:
    return TaggedParser(calls=json_calls())


def _qwen3_thinking(setup: Setup) -> OutputParser:
    return TaggedParser(start=_begin(setup.not_off), thinking=THINK, calls=json_calls(), calls_end_thinking=True)


def _qwen3_vl_thinking(setup: Setup) -> OutputParser:
    return TaggedParser(start=_begin(setup.prefill != "content"), thinking=THINK, calls=json_calls())


def _qwen3_coder(setup: Setup) -> OutputParser:
    return TaggedParser(calls=xml_calls(setup.tools))


def _qwen35(setup: Setup) -> OutputParser:
    calls = xml_calls(setup.tools)
    return TaggedParser(start=_begin(setup.not_off), thinking=THINK, calls=calls, calls_end_thinking=True)


def _deepseek(setup: Setup) -> OutputParser:
    return _deepseek_parser(setup.asked)


def _cogito(setup: Setup) -> OutputParser:
    return _deepseek_parser(setup.asked and not setup.tools)


def _deepseek_parser(thinks: bool) -> OutputParser:
    # The tags of calls are control tokens, which no thought can quote.
    return TaggedParser(
        start=_begin(thinks), thinking=THINK, calls=DeepSeekCalls(), calls_end_thinking=True, ignored=OUTPUTS
    )


def _glm(setup: Setup) -> OutputParser:
    start = Start.THINKING if setup.not_off else Start.LOOK
    return TaggedParser(start=start, thinking=THINK, calls=glm_calls(setup.tools))


def _glm_ocr(setup: Setup) -> OutputParser:
    return TaggedParser(start=Start.LOOK, thinking=THINK, calls=glm_calls(setup.tools))


def _laguna(setup: Setup) -> OutputParser:
    return _laguna_parser(setup, asked=setup.asked and setup.last_role != "assistant")


def _poolside(setup: Setup) -> OutputParser:
    # Its prompt closes the message that a prefill would go on with.
    return _laguna_parser(setup, asked=bool(setup.think))


def _laguna_parser(setup: Setup, *, asked: bool) -> OutputParser:
    thinking = Thinking(reopens=True, shown=bool(setup.think))
    calls = laguna_calls(setup.tools)
    return TaggedParser(
        start=_begin(asked), thinking=thinking, calls=calls, calls_end_thinking=True, ignored=("</think>",)
    )


def _gemma4(setup: Setup) -> OutputParser:
    return _gemma4_parser(setup.asked and setup.last_role == "tool", shown=bool(setup.think))


def _gemma4_no_thinking(setup: Setup) -> OutputParser:
    return _gemma4_parser(False, shown=False)


def _gemma4_parser(thinks: bool, *, shown: bool) -> OutputParser:
    thinking = Thinking("<|channel>", "<channel|>", label="thought\n", reopens=True, shown=shown)
    start = Start.THINKING if thinks else Start.LOOK if shown else Start.CONTENT
    return TaggedParser(start=start, thinking=thinking, calls=gemma4_calls(), ignored=GEMMA4_LEFTOVERS)


def _functiongemma(setup: Setup) -> OutputParser:
    return TaggedParser(calls=functiongemma_calls())


def _olmo3(setup: Setup) -> OutputParser:
    return TaggedParser(calls=olmo_calls())


def _olmo3_think(setup: Setup) -> OutputParser:
    return TaggedParser(start=_begin(setup.prefill != "content"), thinking=THINK)


def _lfm2(setup: Setup) -> OutputParser:
    return TaggedParser(calls=Lfm2Calls(setup.tools))


def _lfm2_thinking(setup: Setup) -> OutputParser:
    start = Start.LOOK if setup.asked else Start.CONTENT
    return TaggedParser(start=start, thinking=THINK, calls=Lfm2Calls(setup.tools))


def _ministral(setup: Setup) -> OutputParser:
    return TaggedParser(thinking=MISTRAL_THINK, calls=NameAndArguments(setup.tools))


def _cohere(setup: Setup) -> OutputParser:
    start = _begin(setup.not_off)
    return TaggedParser(start=start, thinking=COHERE_THINK, calls=cohere_actions(), ignored=COHERE_TEXT)


def _glimmer(setup: Setup) -> OutputParser:
    return GlimmerParser(setup.tools, thinking=setup.think is not False)


def _harmony(setup: Setup) -> OutputParser:
    channels = {"content": "final", "thinking": "analysis"}
    return HarmonyParser(setup.tools, channel=channels.get(setup.prefill))


def _passthrough(setup: Setup) -> OutputParser:
    return Passthrough()


BUILT_IN: Mapping[str, ParserSpec] = MappingProxyType(
    {
        "cogito": ParserSpec(True, True, _cogito),
        "cohere": ParserSpec(True, True, _cohere),
        "deepseek3": ParserSpec(True, True, _deepseek),
        "functiongemma": ParserSpec(True, False, _functiongemma),
        "gemma4": ParserSpec(True, True, _gemma4),
        "gemma4-no-thinking": ParserSpec(True, False, _gemma4_no_thinking),
        "glimmer": ParserSpec(True, True, _glimmer),
        "glm-4.7": ParserSpec(True, True, _glm),
        "glm-ocr": ParserSpec(True, False, _glm_ocr),
        "harmony": ParserSpec(True, True, _harmony),
        "laguna": ParserSpec(True, True, _laguna),
        "lfm2": ParserSpec(True, False, _lfm2),
        "lfm2-thinking": ParserSpec(True, True, _lfm2_thinking),
        "ministral": ParserSpec(True, False, _ministral),
        "nemotron-3-nano": ParserSpec(True, True, _qwen35),
        "nemotron-3.5-nano": ParserSpec(True, True, _qwen35),
        "olmo3": ParserSpec(True, False, _olmo3),
        "olmo3-think": ParserSpec(False, True, _olmo3_think),
        "ornith": ParserSpec(True, True, _qwen35),
        "passthrough": ParserSpec(False, False, _passthrough),
        "poolside-v1": ParserSpec(True, True, _poolside),
        "qwen3": ParserSpec(True, False, _qwen3),
        "qwen3-coder": ParserSpec(True, False, _qwen3_coder),
        "qwen3-thinking": ParserSpec(True, True, _qwen3_thinking),
        "qwen3-vl-instruct": ParserSpec(True, False, _qwen3),
        "qwen3-vl-thinking": ParserSpec(True, True, _qwen3_vl_thinking),
        "qwen3.5": ParserSpec(True, True, _qwen35),
    }
)
