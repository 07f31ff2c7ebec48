"""How a model's prompts are made and its answers read: which of its templates, which parser, what it can do.

A model may have a Jinja template (in its weights) and a Go one (a layer of its own). The rules are Ollama's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from gristmill.runtime.chat.go_prompt import render_go_chat
from gristmill.runtime.chat.go_template.inspect import GoFacts
from gristmill.runtime.chat.guard import TextGuard
from gristmill.runtime.chat.output import (
    BUILT_IN,
    RENDERERS,
    OutputParser,
    Prefill,
    harmony_names,
    make_parser,
    parser_for_go,
    parser_for_template,
)
from gristmill.runtime.chat.preference import jinja_abilities, prefers_jinja
from gristmill.runtime.chat.prompt import CHATML_TEMPLATE, render_chat
from gristmill.runtime.chat.renderer import Renderer
from gristmill.runtime.errors import GristmillError, TemplateError, cut

from .store import StoredModel
from .store.facts import ModelFacts

__all__ = ["ModelTemplate", "Templates", "with_capabilities"]

_HARMONY = ("gptoss", "gpt-oss")
_HARMONY_ANSWER = "<|channel|>final<|message|>"  # stands between the prompt and an answer that has begun
MAX_INSPECTED = 1024
_PROMPT_END = 200
Messages = Sequence[dict[str, Any]]
Tools = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class ModelTemplate:
    """``source`` is empty where a model has no template. ``parser`` names a built-in one; ``go`` is of the Go one."""

    dialect: Literal["jinja", "go"]
    source: str
    parser: str = ""
    renderer: str = ""
    go: GoFacts = GoFacts()  # noqa: RUF009 - it is frozen

    @property
    def abilities(self) -> list[str]:
        """Of ``tools``, ``thinking`` and ``insert`` those that template or parser give the model."""
        found = sorted(self.go.abilities if self.dialect == "go" else jinja_abilities(self.source), reverse=True)
        spec = BUILT_IN.get(self.parser)
        if spec is not None:
            found += [name for name, has in (("tools", spec.tools), ("thinking", spec.thinking)) if has]
        return found

    async def prompt(
        self,
        renderer: Renderer,
        messages: Messages,
        *,
        guard: TextGuard,
        facts: ModelFacts,
        tools: Tools = (),
        think: bool | str | None = None,
    ) -> str:
        """The prompt of a chat. Raises TemplateError, and GristmillError for a renderer that nobody knows."""
        if self.renderer and self.renderer not in RENDERERS:
            raise GristmillError(f"unknown renderer {cut(self.renderer)}")
        if self.parser == "harmony":
            tools = _told(tools)
        if self.dialect == "go":
            return await render_go_chat(renderer, self.source, messages, guard=guard, tools=tools, think=think)
        prompt = await render_chat(
            renderer,
            self.source or CHATML_TEMPLATE,
            messages,
            guard=guard,
            tools=tools,
            bos_token=facts.bos_token or "",
            eos_token=facts.eos_token or "",
            think=think,
        )
        if self.parser == "harmony" and _prefill(messages) == "content":
            begun = guard.text(messages[-1]["content"])
            prompt = f"{prompt.removesuffix(begun)}{_HARMONY_ANSWER}{begun}"
        return prompt

    def parser_of(self, prompt: str, *, tools: Tools, think: bool | str | None, messages: Messages) -> OutputParser:
        """What reads the answer to ``prompt``, which was made of ``messages``."""
        last_role = messages[-1]["role"] if messages else ""
        named = make_parser(self.parser, tools=tools, think=think, prefill=_prefill(messages), last_role=last_role)
        if named is not None:
            return named
        if self.dialect == "go":
            tags = self.go.thinking_tags
            return parser_for_go(tags, self.go.tool_tag, tools=tools, think=think, prompt=prompt)
        return parser_for_template(self.source, tools=tools, think=think, prompt_end=prompt[-_PROMPT_END:])


class Templates:
    """The templates of all models. ``use_go``: always the Go one, never, or (None) the one that does more."""

    def __init__(self, renderer: Renderer, use_go: bool | None):
        self._renderer, self._use_go = renderer, use_go
        self._inspected: dict[str, GoFacts | None] = {}

    async def of(self, model: StoredModel, facts: ModelFacts) -> ModelTemplate:
        """The template that makes this model's prompts."""
        config, jinja, go_source = model.config, facts.chat_template or "", model.template
        is_harmony = facts.family in _HARMONY and "<|start|>" in go_source and "<|end|>" in go_source
        parser = config.parser or ("harmony" if is_harmony or facts.family in _HARMONY else "")
        by_jinja = ModelTemplate("jinja", jinja, parser, config.renderer or "")
        if not go_source or (config.renderer and jinja):
            return by_jinja
        go = await self._inspect(go_source)
        if go is None and jinja:
            return by_jinja  # a template that is none
        by_go = ModelTemplate("go", go_source, parser, config.renderer or "", go or GoFacts())
        if not jinja or parser:
            return by_go
        if self._use_go is not None:
            return by_go if self._use_go else by_jinja
        return by_jinja if prefers_jinja(jinja, by_go.go) else by_go

    async def _inspect(self, source: str) -> GoFacts | None:
        """None for a source that is no template."""
        if source not in self._inspected:
            if len(self._inspected) >= MAX_INSPECTED:
                self._inspected.pop(next(iter(self._inspected)))
            try:
                self._inspected[source] = await self._renderer.inspect_go(source)
            except TemplateError:
                self._inspected[source] = None
        return self._inspected[source]


def with_capabilities(model: StoredModel, facts: ModelFacts, template: ModelTemplate) -> ModelFacts:
    """``facts`` with what the template in use gives the model, and without what another one would."""
    unused = set(jinja_abilities(facts.chat_template or "")) if template.dialect == "go" else set()
    unused -= set(model.config.capabilities or ())
    unused -= {"thinking"} if facts.family in _HARMONY else set()
    listed = tuple(dict.fromkeys([c for c in facts.capabilities if c not in unused] + template.abilities))
    return facts if listed == facts.capabilities else replace(facts, capabilities=listed)


def _told(tools: Tools) -> Tools:
    """``tools`` under the names that the model can write; its parser knows their own."""
    names = harmony_names(tool["function"].get("name", "") for tool in tools)
    functions = [tool["function"] for tool in tools]
    return [
        {**tool, "function": {**function, "name": names[function.get("name", "")]}}
        for tool, function in zip(tools, functions, strict=True)
    ]


def _prefill(messages: Messages) -> Prefill:
    """What of the answer the request has written already."""
    if not messages or messages[-1]["role"] != "assistant" or messages[-1].get("tool_calls"):
        return "none"
    if messages[-1].get("content"):
        return "content"
    return "thinking" if messages[-1].get("thinking") else "none"
