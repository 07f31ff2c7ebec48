"""Harmony, the format of gpt-oss. Source: OpenAI's description of the format, and how Ollama reads it.

<|start|>assistant<|channel|>analysis<|message|>Hm.<|end|>
<|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{"a": 1}<|call|>
<|start|>assistant<|channel|>final<|message|>Hello.<|return|>
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ...errors import OutputError, cut
from .base import Call
from .declared import Declared
from .messages import START, MessageParser
from .reader import Held, Wait
from .values import Broken, decode_object

# Tools that the models know, under names that would not be valid else.
BUILT_IN_TOOLS = frozenset({"browser.find", "browser.open", "browser.search", "python"})
_CHANNEL = re.compile(r"<\|channel\|>([^\s<]*)")
_RECIPIENT = re.compile(r"(?:^|[\s>])to=([^\s<]+)")


class HarmonyParser(MessageParser):
    """Analysis is thinking; what has a recipient is a call, unless it is final; the rest is content."""

    markers = (START, "<|end|>", "<|message|>", "<|channel|>", "<|constrain|>")
    thinking_end = "<|end|><|start|>assistant<|channel|>final<|message|>"

    def __init__(self, tools: Declared, *, channel: str | None = None) -> None:
        """``channel``: that of a message which the prompt has begun."""
        super().__init__(
            ends=("<|end|>",),
            last=("<|call|>", "<|return|>"),
            heads=("<|channel|>", "<|constrain|>", "to=", " to="),
            header=None if channel is None else f"assistant<|channel|>{channel}",
        )
        self._names = harmony_names(tools.names)

    def _body(self, header: str) -> Wait[str]:
        channel, recipient = parse_header(header)
        if recipient and channel != "final":
            return (yield from self._call(recipient))
        self._in_thinking = channel == "analysis"
        return (yield from self._copy(self.out.thinking if self._in_thinking else self.out.content))

    def _call(self, recipient: str) -> Wait[str]:
        self._in_thinking = False
        held = Held()
        tag = yield from self._copy(held)
        body = held.text()
        try:
            arguments = decode_object(body)
        except Broken as error:
            raise OutputError(f"error parsing tool call: raw='{cut(body)[1:-1]}', err={error}") from None
        self.out.call(Call(own_name(self._names, recipient), arguments))
        return tag


def parse_header(header: str) -> tuple[str, str]:
    """The channel and the recipient of a header, each "" if there is none."""
    channel, recipient = _CHANNEL.search(header), _RECIPIENT.search(header)
    return channel.group(1) if channel else "", recipient.group(1) if recipient else ""


def harmony_names(names: Iterable[str]) -> dict[str, str]:
    """For each tool's name the one that the model is told: a valid identifier, different from all others."""
    told: dict[str, str] = {}
    taken: set[str] = set()
    n_same: dict[str, int] = {}
    for name in names:
        if name in told:
            continue
        plain = name if name in BUILT_IN_TOOLS else _identifier(name)
        candidate = plain
        while candidate in taken:
            n_same[plain] = n_same.get(plain, 1) + 1
            candidate = f"{plain}_{n_same[plain]}"
        taken.add(candidate)
        told[name] = candidate
    return told


def own_name(told: Mapping[str, str], recipient: str) -> str:
    """The tool's own name for the ``recipient`` that a model wrote; the written one if no tool was told so."""
    written = recipient.removeprefix("functions.")
    return next((name for name, other in told.items() if other == written), written)


def _identifier(name: str) -> str:
    kept = "".join("_" if c in " -." else c for c in name if c in " -._$" or c.isalpha() or c.isdecimal())
    if not kept:
        return "unnamed"
    return f"_{kept}" if kept[0].isdecimal() else kept
