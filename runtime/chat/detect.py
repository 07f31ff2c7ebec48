"""Finds the family of a Jinja template: the one whose Go template makes the same prompts of the same conversations.

Runs where templates run, for the Jinja template is a stranger's.
"""

from __future__ import annotations

from ..errors import TemplateError
from .families import FAMILIES, Family
from .go_chat import GoPrompts
from .jinja import JinjaTemplate
from .prompt import chat_data
from .wire import GoChat

_SYSTEM = {"role": "system", "content": "Answer in one word."}
_QUESTION = {"role": "user", "content": "What is a mill?"}
_ANSWER = {"role": "assistant", "content": "A machine."}
_NEXT = {"role": "user", "content": "And flour?"}

# The last one is the one that a template must be able to do.
PROBES = ([_SYSTEM, _QUESTION], [_SYSTEM, _QUESTION, _ANSWER, _NEXT], [_QUESTION, _ANSWER, _NEXT])


def detect(jinja_source: str, *, bos_token: str = "", eos_token: str = "") -> Family | None:
    """The first of ``FAMILIES`` with equal prompts for all probes, a first token aside; None without one.

    Probes that the Jinja template refuses, except the last, do not count: some know no system text.
    """
    try:
        template = JinjaTemplate(jinja_source)
        expected = [_jinja_prompt(template, probe, bos_token, eos_token) for probe in PROBES]
    except TemplateError:
        return None
    if expected[-1] is None:
        return None
    return next((family for family in FAMILIES if _matches(family.template, expected, bos_token)), None)


def _jinja_prompt(template: JinjaTemplate, probe: list[dict[str, str]], bos: str, eos: str) -> str | None:
    try:
        prompt = template.render(chat_data(probe, bos_token=bos, eos_token=eos))
    except TemplateError:
        return None
    return prompt.removeprefix(bos)


def _matches(source: str, expected: list[str | None], bos: str) -> bool:
    prompts = GoPrompts(source)
    return all(
        text is None or prompts.prompt(GoChat(messages=list(probe)), 0).removeprefix(bos) == text
        for probe, text in zip(PROBES, expected, strict=True)
    )
