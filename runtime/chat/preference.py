"""Which of a model's two templates makes its prompts, the Jinja one of its file or the Go one of its TEMPLATE.

Compares what they can do, by their texts. The rules are Ollama's.
"""

from __future__ import annotations

import re

from .go_template.inspect import GoFacts

_TOOL_ROLE = re.compile(r"""role(?:['"]\])?\s*==\s*['"]tool['"]""")


def prefers_jinja(jinja_source: str, go: GoFacts) -> bool:
    """Whether the Jinja template does more than the Go one. Where they do the same, the Go template is used."""
    jinja_does, go_does = jinja_abilities(jinja_source), go.abilities
    round_trip = jinja_has_tool_round_trip(jinja_source)
    if len(jinja_does) > len(go_does):
        return round_trip or not go.tool_round_trip
    return jinja_does == go_does and "tools" in go_does and round_trip and not go.tool_round_trip


def jinja_abilities(source: str) -> frozenset[str]:
    """Of ``tools`` and ``thinking`` those that a Jinja template's text speaks of."""
    found = {"tools": "tools" in source or "tool_call" in source, "thinking": _jinja_thinks(source)}
    return frozenset(name for name, has in found.items() if has)


def jinja_has_tool_round_trip(source: str) -> bool:
    """Whether a Jinja template prints calls and the results of calls."""
    if "tool_calls" not in source and "assistant_tool_call" not in source:
        return False
    results = ("tool_response", "tool_results", "ipython")
    return any(mark in source for mark in results) or _TOOL_ROLE.search(source) is not None


def _jinja_thinks(source: str) -> bool:
    if "<think>" in source and "</think>" in source:
        return True
    splits = "content.split('</think>')" in source or 'content.split("</think>")' in source
    return splits and "reasoning_content" not in source and "<SPECIAL_12>" not in source
