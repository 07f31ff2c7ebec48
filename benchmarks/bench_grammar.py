"""Does output with a grammar always fit it, and what does a token cost more?

    python benchmarks/bench_grammar.py [--model FILE.gguf] [--schemas 200] [--seed 1]

First, random schemas with a prompt each go through an engine in this process, at temperature 0.8, four at a time. An
answer that ended with "stop" must parse and validate, says the package jsonschema. That every answer ends at all,
the schemas see to: strings have maxLength, numbers bounds, arrays maxItems, objects no additional properties, and the
grammar bounds white space; so 1,200 tokens are enough for the largest value.

Second, decoding with and without a grammar alternates in one engine, one sequence at a time. The grammar (a long array
of short objects) does not end before the tokens do; a token's time is a whole step of the engine. Also: how long it
takes to accept a token and compute the next mask, and to find the 40 likeliest tokens that the mask allows.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from typing import Any

from common import Spread, default_model, print_header, print_table

from gristmill import Sampling, open_model
from gristmill.runtime.engine import Engine
from gristmill.runtime.events import Failed, Finished, Piece
from gristmill.runtime.grammar.compiler import Compiler
from gristmill.runtime.model import Model
from gristmill.runtime.params import Grammar

SUBJECTS = ("a river", "a mill", "a loaf of bread", "a village", "the weather", "a traveller", "an order of flour")
NAMES = ("name", "age", "kind", "city", "price", "tags", "notes", "open", "score", "größe", "first name", "id")
PATTERNS = (r"^[A-Z]{2}-\d{3}$", r"^(ja|nein)$", r"^[a-z]{1,8}@[a-z]{2,6}\.org$")
MAX_TOKENS = 1200
LONG = {
    "type": "array",
    "minItems": 1000,
    "items": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 20},
            "age": {"type": "integer", "minimum": 0, "maximum": 120},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 12}, "maxItems": 3},
        },
        "required": ["name", "age", "tags"],
        "additionalProperties": False,
    },
}


def random_schema(rng: random.Random, depth: int = 0) -> dict[str, Any]:
    """One whose values are all short."""
    kinds = ["string", "integer", "boolean", "enum", "pattern", "nullable"]
    kinds += ["object", "object", "array"] if depth < 3 else []
    kind = "object" if depth == 0 else rng.choice(kinds)
    if kind == "object":
        properties = {name: random_schema(rng, depth + 1) for name in rng.sample(NAMES, rng.randint(1, 4))}
        required = rng.sample(list(properties), rng.randint(0, len(properties)))
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    if kind == "array":
        low = rng.randint(0, 2)
        items = random_schema(rng, depth + 1)
        return {"type": "array", "items": items, "minItems": low, "maxItems": low + rng.randint(0, 2)}
    if kind == "string":
        return {"type": "string", "maxLength": rng.randint(1, 30)}
    if kind == "integer":
        low = rng.randint(-1000, 1000)
        return {"type": "integer", "minimum": low, "maximum": low + rng.randint(0, 10_000)}
    if kind == "enum":
        return {"enum": rng.sample(["red", "green", "blau", 7, -1, None, True, "x y", 'a"b'], rng.randint(1, 5))}
    if kind == "pattern":
        return {"type": "string", "pattern": rng.choice(PATTERNS)}
    return {"type": "boolean"} if kind == "boolean" else {"anyOf": [{"type": "null"}, {"enum": ["a", "b"]}]}


def prompt_for(subject: str) -> str:
    return f"<|im_start|>user\nDescribe {subject} as JSON.<|im_end|>\n<|im_start|>assistant\n"


def answers(engine: Engine, requests: list[tuple[str, Sampling]]) -> list[tuple[str, str]]:
    """(text, how it ended) of each (prompt, sampling)."""
    texts, ends = [""] * len(requests), [""] * len(requests)
    for i, (prompt, sampling) in enumerate(requests):
        engine.submit(i, prompt, sampling, [])
    while not all(ends):
        for event in engine.step():
            if isinstance(event, Piece):
                texts[event.id] += event.text
            else:
                ends[event.id] = event.reason if isinstance(event, Finished) else f"failed: {event.error}"
    return list(zip(texts, ends, strict=True))


def fits(text: str, schema: dict[str, Any]) -> bool:
    from jsonschema import Draft202012Validator

    try:
        value = json.loads(text)
    except ValueError:
        return False
    return bool(Draft202012Validator(schema).is_valid(value))


def check_schemas(model: Model, n: int, seed: int) -> dict[str, int]:
    rng = random.Random(seed)
    schemas = [random_schema(rng) for _ in range(n)]
    requests = [
        (
            prompt_for(rng.choice(SUBJECTS)),
            Sampling(seed=i, max_tokens=MAX_TOKENS, grammar=Grammar("json_schema", json.dumps(schema))),
        )
        for i, schema in enumerate(schemas)
    ]
    found = answers(model.engine(n_slots=4), requests)
    counts = {"schemas": n, "stop": 0, "length": 0, "failed": 0, "valid": 0}
    for (text, end), schema in zip(found, schemas, strict=True):
        counts[end if end in counts else "failed"] += 1
        counts["valid"] += end == "stop" and fits(text, schema)
        if end != "stop" or not fits(text, schema):
            print(f"  {end}: {text[:100]!r} for {json.dumps(schema)[:200]}")
    return counts


def step_times(engine: Engine, sampling: Sampling) -> list[float]:
    """Seconds of each step that decodes."""
    engine.submit(0, prompt_for("a village"), sampling, [])
    times, done = [], False
    while not done:
        start = time.perf_counter()
        events = engine.step()
        times.append(time.perf_counter() - start)
        done = any(isinstance(event, Finished | Failed) for event in events)
    return times[2:-1]  # without the prompt, and without the end


def mask_times(model: Model, grammar: Grammar, ids: list[int]) -> tuple[list[float], list[float]]:
    """Seconds to accept each of ``ids`` and compute the next mask, and to apply it; nothing else runs."""
    import torch

    matcher = Compiler(model.tokenizer, model.ops.device).matcher(grammar)
    logits = torch.randn(model.tokenizer.n_vocab)
    computing, applying = [], []
    for token in ids:
        start = time.perf_counter()
        matcher.accept(token)
        between = time.perf_counter()
        model.ops.top_k(logits, 40, matcher.allowed())
        applying.append(time.perf_counter() - between)
        computing.append(between - start)
    return computing, applying


def compare(model: Model, rounds: int, n_tokens: int) -> dict[str, Any]:
    engine = model.engine(n_slots=1)
    grammar = Grammar("json_schema", json.dumps(LONG))
    kinds = {"without": None, "with": grammar}
    times: dict[str, list[list[float]]] = {name: [] for name in kinds}
    for i in range(rounds + 1):
        for name, kind in kinds.items():
            sampling = Sampling(seed=i, max_tokens=n_tokens, grammar=kind)
            steps = step_times(engine, sampling)
            if i and len(steps) > n_tokens // 4:  # the first round warms up; free text may end early
                times[name].append(steps)
    text, _ = answers(engine, [(prompt_for("a village"), Sampling(seed=1, max_tokens=n_tokens, grammar=grammar))])[0]
    computing, applying = mask_times(model, grammar, model.tokenizer.encode(text, add_special=False)[: n_tokens - 8])
    medians = {name: [statistics.median(steps) * 1e3 for steps in rows] for name, rows in times.items()}
    spreads = {name: Spread.of(values) for name, values in medians.items()}
    rows = [[f"a token {name} a grammar, ms", s.median, s.p10, s.p90] for name, s in spreads.items()]
    parts = {"a token accepted and the next mask, ms": computing, "the 40 likeliest of the allowed, ms": applying}
    for name, values in parts.items():
        spread = Spread.of([v * 1e3 for v in values])
        rows.append([name, spread.median, spread.p10, spread.p90])
    print_table(["decoding", "median", "p10", "p90"], [[name, *(f"{v:.4f}" for v in values)] for name, *values in rows])
    ratio = spreads["with"].median / spreads["without"].median
    print(f"with / without: {ratio:.3f}; the slowest mask: {max(computing) * 1e3:.2f} ms")
    return {"ratio": ratio, "ms": {name: s.median for name, s in spreads.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=default_model(), help="a GGUF file (default: SmolLM2's installed package)")
    parser.add_argument("--schemas", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.model is None:
        parser.error("the default model's package is not installed: give --model")
    model = open_model(args.model, n_ctx=2048)
    print_header(model.ops.name, ("gristmill", "torch", "llguidance", "jsonschema"))
    speed = compare(model, args.rounds, args.tokens)
    start = time.perf_counter()
    counts = check_schemas(model, args.schemas, args.seed)
    print(f"{counts['valid']} of {counts['stop']} answers that ended with stop parse and validate", end="; ")
    print(f"{counts['length']} ran out of tokens, {counts['failed']} failed; {time.perf_counter() - start:.0f} s")
    print(json.dumps({"benchmark": "grammar", **counts, **speed}))


if __name__ == "__main__":
    main()
