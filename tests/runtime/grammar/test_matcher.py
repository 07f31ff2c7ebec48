"""One sequence's place in a grammar: masks, the end, going back."""

import json
import random
import threading

import numpy as np
import pytest
import torch
from llguidance.numpy import allocate_token_bitmask, apply_token_bitmask_inplace, fill_next_token_bitmask
from support.grammars import schema_grammar
from support.vocabularies import CONTROL, byte_level, sentencepiece, wordpiece

from gristmill.kernels.reference.pointwise import masked
from gristmill.runtime.errors import GristmillError
from gristmill.runtime.grammar.compiler import Compiler
from gristmill.runtime.grammar.matcher import CALM
from gristmill.runtime.grammar.source import compile_grammar
from gristmill.runtime.grammar.vocabulary import native_tokenizer
from gristmill.runtime.params import Grammar
from gristmill.runtime.tokenizer import tokenizer_from_metadata

GRAMMARS = [
    Grammar("json"),
    schema_grammar({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}),
    schema_grammar({"type": "array", "items": {"enum": ["in", "thin", "é🙂", None, 1.5]}, "maxItems": 4}),
    Grammar("regex", r"(th|in|[a-f]{2})+(\.|é)"),
    Grammar("lark", 'start: ("ja" | "nein") (", " start)?'),
]


def ids_of(row):
    return torch.nonzero(row > -torch.inf).flatten().tolist()


@pytest.mark.parametrize("grammar", GRAMMARS, ids=lambda g: f"{g.kind} {g.text[:20]}")
def test_masks_are_those_of_llguidance_step_by_step(model, compiler, grammar):
    tokenizer = native_tokenizer(model.tokenizer)
    twin, matcher, rng = compile_grammar(tokenizer, grammar), compiler.matcher(grammar), random.Random(1)
    bits = allocate_token_bitmask(1, tokenizer.vocab_size)
    for _ in range(60):
        logits = torch.randn(model.tokenizer.n_vocab)
        fill_next_token_bitmask(twin, bits)
        expected = logits.numpy()[None].copy()
        apply_token_bitmask_inplace(expected, bits)
        row = masked(logits, matcher.allowed())
        assert np.array_equal(row.numpy(), expected[0])
        allowed = [token for token in ids_of(row) if token not in model.tokenizer.eog_ids]
        ends = bool(set(ids_of(row)) & model.tokenizer.eog_ids)
        assert ends == matcher.accepting == twin.is_accepting()
        if matcher.stopped:
            break
        token = rng.choice(allowed)
        matcher.accept(token)
        assert twin.consume_token(token)


@pytest.mark.parametrize("n_back", [1, 2, 5])
@pytest.mark.parametrize("grammar", GRAMMARS, ids=lambda g: f"{g.kind} {g.text[:20]}")
def test_going_back_gives_the_same_masks_again(model, compiler, grammar, n_back):
    matcher, rng, rows, tokens = compiler.matcher(grammar), random.Random(2), [], []
    zeros = torch.zeros(model.tokenizer.n_vocab)
    while len(tokens) < 12 and not matcher.stopped:
        rows.append(masked(zeros, matcher.allowed()))
        tokens.append(rng.choice([token for token in ids_of(rows[-1]) if token not in model.tokenizer.eog_ids]))
        matcher.accept(tokens[-1])
    was_accepting = matcher.accepting
    matcher.rollback(n_back)
    assert not matcher.stopped
    for row, token in zip(rows[-n_back:], tokens[-n_back:], strict=True):
        assert torch.equal(masked(zeros, matcher.allowed()), row)
        matcher.accept(token)
    assert matcher.accepting == was_accepting


def test_matchers_of_one_grammar_do_not_know_each_other(model, compiler):
    zeros = torch.zeros(model.tokenizer.n_vocab)
    one, two = (compiler.matcher(Grammar("regex", "ab|cd")) for _ in range(2))
    encode = model.tokenizer.encode
    one.accept(encode("a")[0])
    two.accept(encode("c")[0])
    assert ids_of(masked(zeros, one.allowed())) == encode("b")
    assert ids_of(masked(zeros, two.allowed())) == encode("d")


def test_a_complete_grammar_leaves_only_the_end(model, compiler):
    matcher = compiler.matcher(Grammar("regex", "in"))
    assert not matcher.accepting
    matcher.accept(model.tokenizer.encode("in")[0])
    assert matcher.accepting
    assert matcher.stopped
    assert set(ids_of(masked(torch.zeros(model.tokenizer.n_vocab), matcher.allowed()))) == model.tokenizer.eog_ids


def test_an_empty_output_can_be_all_that_is_allowed(model, compiler):
    matcher = compiler.matcher(Grammar("lark", 'start: ""'))
    assert matcher.accepting
    assert set(ids_of(masked(torch.zeros(model.tokenizer.n_vocab), matcher.allowed()))) == model.tokenizer.eog_ids


def test_a_mask_that_does_not_come_is_an_error(model, compiler, monkeypatch):
    go_on = threading.Event()
    monkeypatch.setattr("gristmill.runtime.grammar.matcher.MASK_TIMEOUT_S", 0.01)
    monkeypatch.setattr("gristmill.runtime.grammar.matcher._compute_masks", lambda *queues: go_on.wait(60))
    matcher, zeros = compiler.matcher(Grammar("regex", "[a-c]+")), torch.zeros(model.tokenizer.n_vocab)
    for _ in range(2):
        with pytest.raises(GristmillError, match="the grammar is too complex"):
            masked(zeros, matcher.allowed())
    go_on.set()


def test_quick_masks_need_no_helper_and_a_slow_one_brings_it_back(model, compiler, monkeypatch):
    matcher, token, threads, seconds = compiler.matcher(Grammar("regex", "a+")), model.tokenizer.encode("a")[0], [], 0.0

    def compute(native, bits):
        threads.append(threading.current_thread().name)
        native.unsafe_compute_mask_ptr(bits.data_ptr(), bits.nbytes)
        return seconds

    monkeypatch.setattr("gristmill.runtime.grammar.matcher._compute_mask", compute)
    for _ in range(2 * CALM):
        matcher.accept(token)
    assert threads[:CALM].count("grammar") >= CALM - 1
    assert "grammar" not in threads[CALM + 1 :]
    seconds = 1.0
    matcher.accept(token)
    matcher.accept(token)
    assert threads[-1] == "grammar"
    assert token in ids_of(masked(torch.zeros(model.tokenizer.n_vocab), matcher.allowed()))


def test_the_helper_thread_ends_with_its_matcher(compiler):
    def helpers():
        return [thread for thread in threading.enumerate() if thread.name == "grammar"]

    matchers = [compiler.matcher(Grammar("json")) for _ in range(3)]
    running = helpers()
    assert len(running) >= 3
    del matchers
    for thread in running:
        thread.join(60)
    assert not set(helpers()) & set(running)


def test_a_token_that_does_not_fit_is_an_error_and_stays_one(model, compiler):
    matcher = compiler.matcher(Grammar("regex", "[a-c]+"))
    with pytest.raises(GristmillError, match="dead end in its grammar"):
        matcher.accept(model.tokenizer.encode("x")[0])
    with pytest.raises(GristmillError, match="dead end"):
        masked(torch.zeros(model.tokenizer.n_vocab), matcher.allowed())
    with pytest.raises(GristmillError, match="dead end"):
        matcher.accept(model.tokenizer.encode("a")[0])


VOCABULARIES = {
    "byte level": byte_level("t h|th e", special={"<|end|>": CONTROL}, eos_token_id=258),
    "sentencepiece": sentencepiece({"▁": -1.0, '{"': -2.0, '▁{"': -3.0, "▁a": -4.0, "a": -5.0}),
    "no end": byte_level("t h", special={"<x>": CONTROL}),
    "words": wordpiece('▁a ▁b a b ▁{ { } ▁} " ▁" : ▁:'),
}


@pytest.mark.parametrize("name", VOCABULARIES)
def test_every_kind_of_vocabulary_can_write_json(name, model):
    """Bytes of the tokens, in order, are the text: no space is added in front, no control token is allowed."""
    tokenizer = tokenizer_from_metadata(VOCABULARIES[name])
    matcher = Compiler(tokenizer, model.ops.device).matcher(schema_grammar({"const": {"a": "b"}}))
    zeros, data, hidden = torch.zeros(tokenizer.n_vocab), b"", set(tokenizer.control_tokens.values())
    while not matcher.stopped:
        allowed = ids_of(masked(zeros, matcher.allowed()))
        assert not set(allowed) & hidden
        matcher.accept(allowed[0])
        data += tokenizer.token_bytes(allowed[0])
    assert json.loads(data) == {"a": "b"}
    assert set(ids_of(masked(zeros, matcher.allowed()))) == tokenizer.eog_ids
