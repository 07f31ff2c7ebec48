"""Requests with pictures in the engine: bit for bit the same answers, whatever happens around them."""

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.vision import N_ROWS, png

from gristmill.runtime.errors import InvalidRequest, PromptTooLong
from gristmill.runtime.events import Failed, Finished, Piece
from gristmill.runtime.images.decode import decode
from gristmill.runtime.params import Sampling

KINDS = ["gemma3", "idefics3", "mlp"]
GREEDY = Sampling(temperature=0, max_tokens=8, logprobs=True)
STORY = "Once upon a time there was a mill by the river. "


def pictures_of(model, *seeds):
    return [decode(png(30, 30, seed), model.vision.preparation) for seed in seeds]


def drain(engine, steps=3000):
    events = defaultdict(list)
    for _ in range(steps):
        for event in engine.step():
            events[event.id].append(event)
        if engine.idle and engine._inbox.empty():
            engine.check_integrity()
            return dict(events)
    raise AssertionError("the engine does not come to rest")


def answer(events):
    """Tokens with their log-probabilities, and why it ended."""
    assert not any(isinstance(event, Failed) for event in events), events
    pieces = [event for event in events if isinstance(event, Piece)]
    return [(e.id, e.logprob) for p in pieces for e in p.logprobs], events[-1].reason


def ask(model, prompt, pictures=(), sampling=GREEDY, **options):
    engine = model.engine(n_slots=1, **options)
    engine.submit(1, prompt, sampling, [], pictures=pictures)
    return drain(engine)[1]


@pytest.mark.parametrize("kind", KINDS)
def test_another_picture_gets_another_answer_and_the_same_one_the_same(opened, kind):
    model = opened(kind)
    one, same, other = (answer(ask(model, "see [img-0] now", pictures_of(model, seed))) for seed in (1, 1, 2))
    assert one == same
    assert one != other


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_pictures_count_as_tokens_of_the_prompt(opened, kind):
    model = opened(kind)
    plain = ask(model, "see  now")[-1].usage.prompt_tokens
    seen = ask(model, "see [img-0] now", pictures_of(model, 1))[-1]
    with_marks = model.vision.read(pictures_of(model, 1)[0])
    n_squares = len(with_marks.ids)
    marks = len(model.tokenizer.encode(with_marks.text.replace("\ufdd1", ""), parse_special=True))
    assert seen.usage.prompt_tokens == plain + n_squares * N_ROWS[kind] + marks
    assert all(token >= 0 for token in seen.prompt_ids)
    assert len(seen.prompt_ids) == plain + marks


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("token_budget", [1, 7, 16, 33])
def test_a_prompt_in_chunks_gives_the_same_answer(opened, kind, token_budget):
    model = opened(kind)
    prompt, pictures = f"{STORY}[img-0]{STORY}[img-1] and", pictures_of(model, 1, 2)
    whole = answer(ask(model, prompt, pictures, reuse_prefixes=False))
    assert answer(ask(model, prompt, pictures, token_budget=token_budget)) == whole


@pytest.mark.parametrize("kind", KINDS)
def test_pages_are_found_for_the_same_picture_and_never_for_another(opened, kind):
    model = opened(kind)
    engine = model.engine(n_slots=1)
    alone = {seed: answer(ask(model, f"{STORY}[img-0]{STORY}", pictures_of(model, seed))) for seed in (1, 2)}
    cached = []
    for i, seed in enumerate((1, 2, 1)):
        engine.submit(i, f"{STORY}[img-0]{STORY}", GREEDY, [], pictures=pictures_of(model, seed))
        events = drain(engine)[i]
        assert answer(events) == alone[seed]
        cached.append(events[-1].usage.cached_tokens)
    before = len(STORY) // 16 * 16  # what stands before the picture is common to both
    assert cached[0] == 0
    assert 0 < cached[1] <= before + 16
    assert cached[2] > cached[1]


def test_a_picture_that_was_seen_lately_is_not_looked_at_again(opened, monkeypatch):
    model = opened("mlp")
    engine, looked = model.engine(n_slots=1, reuse_prefixes=False), []
    look = model.vision.look
    monkeypatch.setattr(model.vision, "look", lambda square: looked.append(1) or look(square))
    for i in range(3):
        engine.submit(i, "[img-0][img-1]", GREEDY, [], pictures=pictures_of(model, 1, 2))
        drain(engine)
    assert len(looked) == 2


jobs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6), st.none() | st.integers(0, 6)), min_size=1, max_size=8)
PROMPTS = [
    (STORY, ()),
    (f"{STORY}[img-0]", (1,)),
    (f"{STORY}[img-0] and", (2,)),
    (f"[img-0][img-0]{STORY}", (1,)),
    (f"[img-1]{STORY}[img-0]", (1, 2)),
    (STORY * 2, ()),
]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12)
@given(data=st.data())
def test_an_answer_does_not_depend_on_what_else_happens(opened, kind, data):
    """Small caches, small steps, others that come and leave, some of them with pictures."""
    model = opened(kind)
    chosen = data.draw(jobs)
    budget = data.draw(st.sampled_from([8, 40, 512]))
    engine = model.engine(n_slots=3, n_contexts=1, token_budget=budget)
    waiting = [(i, *job) for i, job in enumerate(chosen)]
    events, clock = defaultdict(list), 0
    while waiting or not engine.idle or not engine._inbox.empty():
        for job in [job for job in waiting if job[2] <= clock]:
            prompt, seeds = PROMPTS[job[1]]
            engine.submit(job[0], prompt, GREEDY, [], pictures=pictures_of(model, *seeds))
            waiting.remove(job)
        for i, (_, wait, leaves) in enumerate(chosen):
            if leaves is not None and clock == wait + leaves:
                engine.abort(i)
        for event in engine.step():
            events[event.id].append(event)
        engine.check_integrity()
        clock += 1
        assert clock < 5000
    for i, (which, _, _) in enumerate(chosen):
        assert sum(isinstance(event, Finished | Failed) for event in events[i]) == 1
        if events[i][-1].reason != "abort":
            prompt, seeds = PROMPTS[which]
            assert answer(events[i]) == answer(ask(model, prompt, pictures_of(model, *seeds), reuse_prefixes=False))


def test_running_streams_advance_while_a_picture_is_looked_at(opened):
    model = opened("gemma3")
    engine = model.engine(n_slots=2)
    engine.submit(1, "short", Sampling(temperature=0, max_tokens=200), [])
    while not any(isinstance(event, Piece) for event in engine.step()):
        pass
    engine.submit(2, "[img-0]", GREEDY, [], pictures=pictures_of(model, 1))
    while not engine.waiting_room.sequences:
        assert any(event.id == 1 for event in engine.step())
    while engine.waiting_room.sequences:
        assert any(event.id == 1 for event in engine.step())


def test_a_request_that_waits_for_its_pictures_can_be_aborted(opened):
    model = opened("gemma3")
    engine = model.engine(n_slots=2)
    for i, seed in ((1, 1), (2, 2)):
        engine.submit(i, "[img-0]", GREEDY, [], pictures=pictures_of(model, seed))
    engine.step()
    assert engine.stats().waiting == 2
    engine.abort(1)
    events = drain(engine)
    assert [event.reason for event in events[1]] == ["abort"]
    assert answer(events[2]) == answer(ask(model, "[img-0]", pictures_of(model, 2)))


def test_a_full_context_loses_whole_pictures(opened):
    """Of gemma3's a part would be computed differently, so a square goes as soon as one of its rows does."""
    model = opened("gemma3", n_ctx=96)
    engine = model.engine(n_slots=1)
    sampling = Sampling(temperature=0, max_tokens=120, num_keep=4)
    prompt = f"[img-0]{STORY[:20]}[img-1]"
    engine.submit(1, prompt, sampling, [], pictures=pictures_of(model, 1, 2))
    events = drain(engine)[1]
    assert events[-1].usage.output_tokens == 120 or events[-1].reason == "stop"
    assert not any(isinstance(event, Failed) for event in events)


def test_penalties_look_at_what_is_written_only(opened):
    model = opened("mlp")
    sampling = Sampling(temperature=0, max_tokens=8, logprobs=True, repeat_penalty=1.5, repeat_last_n=-1)
    assert answer(ask(model, "see [img-0]", pictures_of(model, 1), sampling))


def test_guessing_leaves_requests_with_pictures_alone(opened):
    model = opened("mlp")
    sampling = Sampling(temperature=0, max_tokens=8, logprobs=True, n_draft=4)
    assert answer(ask(model, "[img-0]", pictures_of(model, 1), sampling)) == answer(
        ask(model, "[img-0]", pictures_of(model, 1))
    )


def test_a_mark_without_its_picture_is_text(opened):
    model = opened("mlp")
    read = ask(model, "[img-0] and [img-7]", pictures_of(model, 1))[-1]
    text = model.tokenizer.decode(read.prompt_ids)
    assert text == " and [img-7]"


def test_nothing_is_cut_out_of_a_prompt_with_pictures(opened):
    model = opened("mlp", n_ctx=64)
    engine = model.engine(n_slots=1)
    with pytest.raises(PromptTooLong, match="those of images among them"):
        engine.submit(1, STORY * 3 + "[img-0]", GREEDY, [], truncate=True, pictures=pictures_of(model, 1))


def test_pictures_and_token_ids_do_not_go_together(opened):
    model = opened("mlp")
    with pytest.raises(InvalidRequest, match="token ids"):
        model.engine(n_slots=1).submit(1, [1, 2], GREEDY, [], pictures=pictures_of(model, 1))


def test_a_model_without_a_projector_refuses_pictures(opened, tiny):
    with pytest.raises(InvalidRequest, match="no projector"):
        tiny.engine(n_slots=1).submit(1, "[img-0]", GREEDY, [], pictures=pictures_of(opened("mlp"), 1))
    with pytest.raises(InvalidRequest, match="without a projector"):
        next(tiny.generate("[img-0]", images=[png()]))


def test_a_failing_tower_fails_its_request_only(opened, monkeypatch):
    model = opened("mlp")

    def broken(square):
        raise RuntimeError("no")
        yield

    engine = model.engine(n_slots=2)
    monkeypatch.setattr(model.vision, "look", broken)
    engine.submit(1, "[img-0]", GREEDY, [], pictures=pictures_of(model, 1))
    engine.submit(2, "text", GREEDY, [])
    events = drain(engine)
    assert [event.error for event in events[1]] == ["the model failed on the images of this request"]
    assert answer(events[2])


def test_a_notebook_shows_files_to_a_model(opened):
    model = opened("mlp")
    pieces = list(model.generate("[img-0]", GREEDY, images=[png(30, 30, 1)]))
    assert [t for piece in pieces for t in piece.tokens] == [
        token for token, _ in answer(ask(model, "[img-0]", pictures_of(model, 1)))[0]
    ]
