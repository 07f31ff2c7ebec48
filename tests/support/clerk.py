"""A runner that answers by rules, for clients that expect sense: it calls the tool it is offered, keeps to schemas.

What a small model cannot be relied on to do, this one does: what is tested is everything around the model.
"""

from __future__ import annotations

import json
import re
from typing import Any

from gristmill.runtime.params import Sampling
from gristmill.runtime.tokenizer import GUARD

from .fake_runner import FakeRunner, FakeRunners

_TURN = re.compile(r"<\|im_start\|>(\w+)(.*?)<\|im_end\|>", re.DOTALL)
_NUMBER = re.compile(r"-?\d+")


class Clerk(FakeRunner):
    """Reads prompts of ``support.qwen.TEMPLATE``."""

    def reply(self, prompt: str | list[int], sampling: Sampling) -> list[object]:
        words: list[object] = re.findall(r"\S+\s*|\s+", self.answer(str(prompt).replace(GUARD, ""), sampling))
        return words[: sampling.max_tokens] if sampling.max_tokens > 0 else words

    def answer(self, prompt: str, sampling: Sampling) -> str:
        """What to say: a value of the grammar, a call of the first tool, or a sentence."""
        turns = _TURN.findall(prompt)
        role, text = turns[-1] if turns else ("user", prompt)
        if sampling.grammar is not None:
            if sampling.grammar.kind == "json":
                return json.dumps(dict.fromkeys(re.findall(r"'(\w+)'", text), "text"))
            schema = json.loads(sampling.grammar.text)
            return json.dumps(example_of(schema, schema, text))
        thinking = "" if prompt.endswith("<think></think>") else "<think>\nLet me see.\n</think>\n\n"
        tools = re.search(r"<tools>(.*?)</tools>", prompt, re.DOTALL)
        if tools and role == "user":
            function = json.JSONDecoder().raw_decode(tools[1])[0]["function"]
            schema = function.get("parameters") or {"type": "object"}
            call = {"name": function["name"], "arguments": example_of(schema, schema, text)}
            return f"{thinking}<tool_call>\n{json.dumps(call)}\n</tool_call>"
        return f"{thinking}You said: {text.strip()[:200] or 'nothing'}."


class Clerks(FakeRunners):
    """A ``start_runner`` for clerks."""

    async def __call__(self, load: Any, **options: Any) -> Clerk:
        self.started.append(Clerk(load, []))
        return self.last  # type: ignore[return-value]


def example_of(schema: dict[str, Any], root: dict[str, Any], text: str) -> Any:
    """A value that ``schema`` allows; numbers and texts come from ``text`` where it has any."""
    if "$ref" in schema:
        for key in schema["$ref"].removeprefix("#/").split("/"):
            root, schema = root, (schema if schema is not None and key in schema else root)[key]
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return example_of(schema[key][0], root, text)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: example_of(properties[name], root, text) for name in properties}
    if kind == "array":
        return [example_of(schema.get("items", {"type": "string"}), root, text)]
    if kind in ("integer", "number"):
        found = _NUMBER.search(text)
        return int(found[0]) if found else 1
    if kind == "string":
        return text.strip()[:40] or "text"
    return kind == "boolean"
