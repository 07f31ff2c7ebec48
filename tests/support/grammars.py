"""Requests with grammars on a model in this process, and judging what came out."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from jsonschema import Draft202012Validator

from gristmill.runtime.engine import Engine
from gristmill.runtime.events import Failed, Finished, Piece
from gristmill.runtime.params import Grammar, Sampling


def schema_grammar(schema: Any) -> Grammar:
    return Grammar("json_schema", schema if isinstance(schema, str) else json.dumps(schema))


def validate(text: str, schema: Any) -> None:
    """``text`` is JSON that fits ``schema``, says another implementation."""
    Draft202012Validator(schema).validate(json.loads(text))


def run(engine: Engine, requests: list[Sampling], prompt: str = "an answer:") -> list[tuple[str, str]]:
    """(text, how it ended) of every Sampling in ``requests``, all at once."""
    for i, sampling in enumerate(requests):
        engine.submit(i, prompt, sampling, [])
    texts: dict[int, str] = defaultdict(str)
    ends: dict[int, str] = {}
    while len(ends) < len(requests):
        for event in engine.step():
            if isinstance(event, Piece):
                texts[event.id] += event.text
            else:
                assert isinstance(event, Finished | Failed)
                ends[event.id] = event.error if isinstance(event, Failed) else event.reason
    return [(texts[i], ends[i]) for i in range(len(requests))]
