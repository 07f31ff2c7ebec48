"""The engine on a tiny random model: who joins, who leaves, and that nobody notices the others."""

import random
from collections import defaultdict

import pytest
import torch

from gristmill.runtime.errors import InvalidRequest
from gristmill.runtime.events import Failed, Finished, Piece
from gristmill.runtime.params import Sampling

GREEDY = Sampling(temperature=0, max_tokens=12)


def drain(engine, *, steps=2000):
    """All events until the engine is idle, by request."""
    events = defaultdict(list)
    for _ in range(steps):
        for event in engine.step():
            events[event.id].append(event)
        if engine.scheduler.idle:
            engine.check_integrity()
            return dict(events)
    raise AssertionError("the engine does not come to rest")


def tokens_of(events):
    return [token for event in events if isinstance(event, Piece) for token in event.tokens]


def text_of(events):
    return "".join(event.text for event in events if isinstance(event, Piece))


def run_one(tiny, prompt, sampling, **options):
    engine = tiny.engine(n_slots=1, **options)
    engine.submit(1, prompt, sampling, [])
    return drain(engine)[1]


def test_a_request_gets_the_same_tokens_alone_and_among_seven_others(tiny):
    prompts = [f"prompt number {i} " + "word " * (5 * i) for i in range(8)]
    alone = [tokens_of(run_one(tiny, prompt, GREEDY)) for prompt in prompts]
    engine = tiny.engine(n_slots=8, token_budget=64)
    for i, prompt in enumerate(prompts):
        engine.submit(i, prompt, GREEDY, [])
    together = drain(engine)
    assert [tokens_of(together[i]) for i in range(8)] == alone
    assert any(len(tokens) > 3 for tokens in alone)


@pytest.mark.parametrize("token_budget", [1, 3, 16, 100])
def test_a_prompt_in_chunks_gives_the_same_tokens(tiny, token_budget):
    prompt = "chunked prefill " * 5
    whole = run_one(tiny, prompt, GREEDY, token_budget=512)
    assert tokens_of(run_one(tiny, prompt, GREEDY, token_budget=token_budget)) == tokens_of(whole)


def test_a_seed_fixes_the_tokens_whatever_else_runs(tiny):
    sampling = Sampling(temperature=1.0, seed=42, max_tokens=20)
    alone = tokens_of(run_one(tiny, "seeded", sampling))
    engine = tiny.engine(n_slots=4)
    for i in range(4):
        engine.submit(i, "seeded", sampling if i == 2 else Sampling(max_tokens=20), [])
    assert tokens_of(drain(engine)[2]) == alone


def test_running_streams_advance_while_a_long_prompt_is_read(tiny):
    engine = tiny.engine(n_slots=2, token_budget=8)
    engine.submit(1, "short", Sampling(temperature=0, max_tokens=200), [])
    while not any(isinstance(event, Piece) for event in engine.step()):
        pass
    engine.submit(2, "long " * 30, GREEDY, [])
    for _ in range(10):
        assert any(event.id == 1 for event in engine.step())


def test_abort_frees_the_pages_within_one_step(tiny):
    engine = tiny.engine(n_slots=2)
    engine.submit(1, "to be aborted", Sampling(max_tokens=200), [])
    engine.submit(2, "stays", GREEDY, [])
    engine.step()
    before = engine.stats()
    engine.abort(1)
    events = engine.step()
    assert [e.reason for e in events if isinstance(e, Finished) and e.id == 1] == ["abort"]
    assert engine.stats().free_pages > before.free_pages
    assert engine.stats().running == 1
    assert isinstance(drain(engine)[2][-1], Finished)


def test_a_waiting_request_can_be_aborted(tiny):
    engine = tiny.engine(n_slots=1)
    engine.submit(1, "runs", GREEDY, [])
    engine.submit(2, "waits", GREEDY, [])
    engine.step()
    engine.abort(2)
    events = drain(engine)
    assert [e.reason for e in events[2]] == ["abort"]
    assert isinstance(events[1][-1], Finished)


def test_every_submit_ends_in_exactly_one_last_event(tiny):
    rng = random.Random(5)
    engine, events, submitted = tiny.engine(n_slots=3, token_budget=16), defaultdict(list), 0
    for _ in range(120):
        action = rng.random()
        if action < 0.3:
            engine.submit(submitted, "x" * rng.randint(1, 60), Sampling(max_tokens=rng.randint(1, 15)), [])
            submitted += 1
        elif action < 0.4 and submitted:
            engine.abort(rng.randrange(submitted))
        for event in engine.step():
            events[event.id].append(event)
        engine.check_integrity()
    for request, rest in drain(engine).items():
        events[request] += rest
    assert submitted > 20
    for request in range(submitted):
        last = [i for i, e in enumerate(events[request]) if isinstance(e, Finished | Failed)]
        assert last == [len(events[request]) - 1]


def test_generation_ends_at_max_tokens_with_reason_length_and_counts(tiny):
    events = run_one(tiny, "count", Sampling(temperature=0, max_tokens=5))
    last = events[-1]
    assert isinstance(last, Finished)
    assert last.reason in ("length", "stop")
    assert last.usage.prompt_tokens == len(last.prompt_ids) == len(tiny.tokenizer.encode("count"))
    assert last.usage.output_tokens == len(tokens_of(events)) <= 5
    assert last.usage.prompt_ns > 0


def test_a_model_that_repeats_one_token_is_stopped(tiny):
    engine = tiny.engine(n_slots=1)
    forward = engine.forward

    def stuck(spans):
        logits = forward(spans).clone()
        logits[:, 10] = 1e6
        return logits

    engine.forward = stuck
    engine.submit(1, "stuck", Sampling(temperature=0, max_tokens=200), [])
    events = drain(engine)[1]
    assert tokens_of(events) == [10] * 32  # the token, and more than 30 repeats of it
    assert events[-1].reason == "stop"


def test_generation_ends_where_the_context_ends(tiny):
    events = run_one(tiny, "z" * 240, Sampling(temperature=1.0, seed=3, max_tokens=-1, shift=False))
    assert isinstance(events[-1], Finished)
    assert events[-1].usage.prompt_tokens + events[-1].usage.output_tokens <= tiny.n_ctx
    if events[-1].reason == "length":
        assert events[-1].usage.prompt_tokens + events[-1].usage.output_tokens == tiny.n_ctx


def test_a_stop_string_ends_the_text_before_it(tiny):
    free = text_of(run_one(tiny, "stop here", Sampling(temperature=0, max_tokens=30)))
    stop = free[6:8]
    events = run_one(tiny, "stop here", Sampling(temperature=0, max_tokens=30, stop=(stop,)))
    assert text_of(events) == free[: free.index(stop)]
    assert events[-1].reason == "stop"


def test_streamed_text_is_the_decoded_tokens(tiny):
    events = run_one(tiny, "decode", Sampling(temperature=1.0, seed=1, max_tokens=60))
    assert text_of(events) == tiny.tokenizer.decode(tokens_of(events))


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([], "empty"),
        ([10**6], "outside the vocabulary"),
        ([-1], "outside the vocabulary"),
        ("long " * 300, "does not fit into the context of 256"),
    ],
)
def test_a_prompt_that_cannot_be_used_is_refused_and_has_no_events(tiny, prompt, message):
    engine = tiny.engine(n_slots=1)
    with pytest.raises(InvalidRequest, match=message):
        engine.submit(1, prompt, GREEDY, [])
    assert engine.step() == []


def test_context_ids_stand_before_the_prompt(tiny):
    ids = tiny.tokenizer.encode("one two")
    engine = tiny.engine(n_slots=1)
    engine.submit(1, ids[2:], GREEDY, ids[:2])
    assert tokens_of(drain(engine)[1]) == tokens_of(run_one(tiny, ids, GREEDY))


def test_invalid_logits_fail_their_own_request_only(tiny):
    engine = tiny.engine(n_slots=2)
    forward = engine.forward

    def poisoned(spans):
        logits = forward(spans).clone()
        for row, span in zip(logits, spans, strict=True):
            if span.pages == victim:
                row.fill_(float("nan"))
        return logits

    engine.submit(1, "fine", GREEDY, [])
    engine.submit(2, "poisoned", GREEDY, [])
    engine._drain(wait=False)
    engine.scheduler._admit()
    victim = next(seq.pages for seq in engine.scheduler.running if seq.id == 2)
    engine.forward = poisoned
    events = drain(engine)
    assert isinstance(events[2][-1], Failed)
    assert "invalid logits" in events[2][-1].error
    assert tokens_of(events[1]) == tokens_of(run_one(tiny, "fine", GREEDY))


def test_a_failing_step_fails_its_requests_and_the_engine_goes_on(tiny):
    engine = tiny.engine(n_slots=2)
    forward, engine.forward = engine.forward, lambda spans: torch.empty(-1)
    engine.submit(1, "unlucky", GREEDY, [])
    assert isinstance(drain(engine)[1][-1], Failed)
    engine.forward = forward
    engine.submit(2, "lucky", GREEDY, [])
    assert isinstance(drain(engine)[2][-1], Finished)


def test_generate_streams_what_the_engine_makes(tiny):
    pieces = list(tiny.generate("count", GREEDY))
    assert [t for p in pieces for t in p.tokens] == tokens_of(run_one(tiny, "count", GREEDY))


def test_logits_refuse_ids_that_do_not_fit(tiny):
    for ids in ([], [0] * 257, [10**6]):
        with pytest.raises(InvalidRequest, match="1 to 256 ids"):
            tiny.logits(ids)
