"""Requests with a grammar: what a model of random weights writes fits it all the same."""

import json

import pytest
import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from support.grammars import run, schema_grammar, validate
from support.schemas import schemas

from gristmill.kernels.reference.pointwise import masked
from gristmill.runtime.errors import InvalidRequest
from gristmill.runtime.events import Failed, Finished
from gristmill.runtime.params import Grammar, Sampling

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 2},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schema=schemas(), seed=st.integers(0, 2**32), temperature=st.sampled_from([0, 0.8, 2.0]))
def test_what_ends_well_fits_its_schema(model, schema, seed, temperature):
    draw = {"temperature": temperature, "seed": seed, "top_k": 0, "top_p": 1.0, "max_tokens": 250}
    ((text, end),) = run(model.engine(n_slots=1), [Sampling(**draw, grammar=schema_grammar(schema))])
    event(end)
    assert end in ("stop", "length")
    # The engine stops a model that repeats one token, whatever it has written.
    if end == "stop" and not text.endswith("\t" * 20):
        validate(text, schema)


def test_a_schema_is_kept_to_at_every_temperature(model):
    requests = [Sampling(temperature=t, seed=s, grammar=schema_grammar(PERSON)) for t in (0, 1, 5) for s in range(2)]
    ends = run(model.engine(n_slots=4), requests)
    for text, end in ends:
        if end == "stop":
            validate(text, PERSON)
    assert [end for _, end in ends].count("stop") >= 4


def test_json_mode_writes_an_object(model):
    requests = [Sampling(seed=s, temperature=1.5, grammar=Grammar("json"), max_tokens=200) for s in range(8)]
    complete = [text for text, end in run(model.engine(n_slots=4), requests) if end == "stop"]
    assert all(text.startswith("{") for text in complete)
    parsed = []
    for text in complete:
        try:
            parsed.append(json.loads(text))
        except ValueError:
            assert len(set(text[-31:])) == 1, text  # stopped for repeating itself
    assert parsed
    assert all(isinstance(value, dict) for value in parsed)


@pytest.mark.parametrize(
    ("grammar", "texts"),
    [
        (Grammar("regex", "(yes|no)"), {"yes", "no"}),
        (Grammar("lark", 'start: "left" | "right"'), {"left", "right"}),
        (schema_grammar({"enum": ["a", 1, None]}), {'"a"', "1", "null"}),
    ],
)
def test_other_grammars(model, grammar, texts):
    requests = [Sampling(seed=s, temperature=9, top_k=0, top_p=1, grammar=grammar) for s in range(30)]
    found = run(model.engine(n_slots=2), requests)
    assert {end for _, end in found} == {"stop"}
    assert {text for text, _ in found} == texts


def test_with_and_without_a_grammar_in_one_batch(model):
    plain = Sampling(temperature=0, max_tokens=20)
    alone = run(model.engine(n_slots=1), [plain])
    bound = Sampling(temperature=0, grammar=schema_grammar(PERSON))
    alone += run(model.engine(n_slots=1), [bound])
    assert run(model.engine(n_slots=2), [plain, bound]) == alone


def test_penalties_do_not_bring_back_what_the_grammar_forbids(model):
    sampling = Sampling(seed=1, repeat_penalty=9.0, frequency_penalty=9, grammar=Grammar("regex", "(in){9}"))
    assert run(model.engine(n_slots=1), [sampling]) == [("in" * 9, "stop")]


def test_the_length_counts_with_a_grammar_too(model):
    sampling = Sampling(max_tokens=3, grammar=Grammar("regex", "[a-z]{50}"), seed=1)
    ((text, end),) = run(model.engine(n_slots=1), [sampling])
    assert end == "length"
    assert len(text) >= 3


def test_a_dead_end_fails_that_request_alone(model):
    engine = model.engine(n_slots=2)
    bad, good = Sampling(temperature=0, grammar=Grammar("regex", "[a-z]{40}")), Sampling(temperature=0, max_tokens=30)
    engine.submit(0, "x", bad, [])
    engine.submit(1, "x", good, [])
    ends, n_steps = {}, 0
    while len(ends) < 2:
        if n_steps == 5:
            matcher = engine._live[0].matcher
            masked(torch.zeros(model.tokenizer.n_vocab), matcher.allowed())
            matcher._native.consume_token(model.tokenizer.encode("{")[0])  # which ends it
        for last in engine.step():
            if isinstance(last, Failed | Finished):
                ends[last.id] = last.error if isinstance(last, Failed) else last.reason
        n_steps += 1
    assert "the output came to a dead end in its grammar" in ends[0]
    assert ends[1] == "length"
    assert engine.stats().running == 0


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_logits_that_are_no_numbers_fail_under_a_mask(model, value):
    engine = model.engine(n_slots=1)
    forward = engine.forward
    engine.forward = lambda spans: torch.full_like(forward(spans), value)
    ((_, end),) = run(engine, [Sampling(grammar=Grammar("json"))])
    assert end == "model produced invalid logits"


def test_a_bad_grammar_is_refused_at_once(model):
    with pytest.raises(InvalidRequest, match=r'^grammar: keyword "not" is not supported$'):
        model.engine(n_slots=1).submit(1, "x", Sampling(grammar=schema_grammar({"not": {}})), [])


def test_an_aborted_request_leaves_nothing_behind(model):
    engine = model.engine(n_slots=1)
    engine.submit(1, "x", Sampling(grammar=Grammar("json")), [])
    engine.step()
    engine.abort(1)
    assert [e.reason for e in engine.step()] == ["abort"]
    assert run(engine, [Sampling(grammar=Grammar("regex", "ab"))]) == [("ab", "stop")]
