"""The promise: a request gives the same tokens and log-probabilities, bit for bit, whatever happens around it."""

from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tiny_model import write_tiny_model

from gristmill.runtime import open_model
from gristmill.runtime.events import Failed, Finished, Piece
from gristmill.runtime.params import Grammar, Sampling

STORY = "Once upon a time there was a mill by the river, and its stones ground the grain of the whole valley. "
PROMPTS = [STORY[:n] + end for n in (0, 15, 16, 17, 40, 64, 100) for end in ("a", "b", STORY)] + [STORY]
SAMPLINGS = [
    Sampling(temperature=0, max_tokens=24, logprobs=True, top_logprobs=3),
    Sampling(temperature=1.0, seed=7, max_tokens=40, logprobs=True, repeat_penalty=1.2, repeat_last_n=-1),
    Sampling(temperature=2.0, seed=8, top_k=0, top_p=1.0, max_tokens=9, logprobs=True, logit_bias={5: 1.5}),
    Sampling(temperature=1.0, seed=9, max_tokens=150, logprobs=True),  # longer than the context: shifts
    Sampling(temperature=1.0, seed=3, max_tokens=30, logprobs=True, grammar=Grammar("json")),
]


@dataclass(frozen=True)
class Job:
    prompt: int
    sampling: int
    wait: int
    leaves_after: int | None = None


jobs = st.lists(
    st.builds(
        Job,
        prompt=st.integers(0, len(PROMPTS) - 1),
        sampling=st.integers(0, len(SAMPLINGS) - 1),
        wait=st.integers(0, 8),
        leaves_after=st.none() | st.integers(0, 20),
    ),
    min_size=1,
    max_size=16,
)


@pytest.fixture(scope="module", params=["llama", "falcon-h1"])
def models(request, tiny_path, tmp_path_factory):
    """The same model on one thread and on two. Falcon H1 keeps states beside its pages."""
    path = tiny_path
    if request.param != "llama":
        path = write_tiny_model(tmp_path_factory.mktemp("hybrid") / "hybrid.gguf", architecture=request.param)
    return {n: open_model(path, backend="cpu", n_ctx=160, n_threads=n) for n in (1, 2)}


@pytest.fixture(scope="module")
def drafts(models, tmp_path_factory):
    """Who guesses: the text itself, the model itself (always right at temperature 0), another one (mostly wrong).

    Where a model keeps states nobody does, and it cannot guess for others.
    """
    path = write_tiny_model(tmp_path_factory.mktemp("other") / "other.gguf", seed=99)
    other = open_model(path, backend="cpu", n_ctx=100, n_threads=1)
    return {"text": None, "itself": other if keeps_states(models) else models[1], "other": other}


def keeps_states(models):
    return any(layer.states for layer in models[1].decoder.kept)


@pytest.fixture(scope="module")
def alone(models):
    """What a request says in an engine of its own, with nothing cached and its prompt in one piece."""
    known = {}

    def run(job):
        key = job.prompt, job.sampling
        if key not in known:
            engine = models[1].engine(n_slots=1, reuse_prefixes=False)
            engine.submit(0, PROMPTS[job.prompt], SAMPLINGS[job.sampling], [], truncate=True)
            events = []
            while not (events and isinstance(events[-1], Finished)):
                events += engine.step()
            known[key] = answer(events)
        return known[key]

    return run


def answer(events):
    """Tokens with their log-probabilities, the text, and why it ended."""
    pieces = [event for event in events if isinstance(event, Piece)]
    tokens = [(entry.id, entry.logprob, entry.top) for piece in pieces for entry in piece.logprobs]
    reason = events[-1].reason if isinstance(events[-1], Finished) else None
    return tokens, "".join(piece.text for piece in pieces), reason


def serve(engine, schedule, n_draft=0):
    """The events of every job, by its number, with the engine's integrity looked at after each step."""
    events = {number: [] for number in range(len(schedule))}
    due, step = list(enumerate(schedule)), 0
    while due or not engine.scheduler.idle:
        while due and (due[0][1].wait <= 0 or engine.scheduler.idle):
            number, job = due.pop(0)
            sampling = msgspec.structs.replace(SAMPLINGS[job.sampling], n_draft=n_draft)
            engine.submit(number, PROMPTS[job.prompt], sampling, [], truncate=True)
        if due:
            due[0] = due[0][0], Job(due[0][1].prompt, due[0][1].sampling, due[0][1].wait - 1, due[0][1].leaves_after)
        for number, job in enumerate(schedule):
            if job.leaves_after == step and number not in dict(due):
                engine.abort(number)
        for event in engine.step():
            events[event.id].append(event)
        engine.check_integrity()
        step += 1
    return events


@settings(max_examples=60)
@given(
    schedule=jobs,
    n_slots=st.integers(1, 16),
    n_contexts=st.integers(1, 3),
    token_budget=st.sampled_from([1, 5, 16, 33, 512]),
    reuse=st.booleans(),
    n_threads=st.sampled_from([1, 2]),
    drafter=st.sampled_from(["text", "itself", "other"]),
    n_draft=st.sampled_from([0, 1, 4]),
    max_drafted=st.sampled_from([1, 16]),
)
def test_the_same_request_gives_the_same_answer_in_every_schedule(
    models, drafts, alone, schedule, n_slots, n_contexts, token_budget, reuse, n_threads, drafter, n_draft, max_drafted
):
    engine = models[n_threads].engine(
        n_slots=n_slots,
        n_contexts=n_contexts,
        token_budget=token_budget,
        reuse_prefixes=reuse,
        draft=drafts[drafter],
        max_drafted=max_drafted,
    )
    for number, events in serve(engine, schedule, n_draft).items():
        assert isinstance(events[-1], Finished | Failed)
        assert not any(isinstance(event, Finished | Failed) for event in events[:-1])
        tokens, text, reason = answer(events)
        expected_tokens, expected_text, expected_reason = alone(schedule[number])
        if reason == "abort":
            assert tokens == expected_tokens[: len(tokens)]
            assert expected_text.startswith(text)
        else:
            assert (tokens, text, reason) == (expected_tokens, expected_text, expected_reason)


def test_schedules_like_these_preempt_share_and_shift(models, alone):
    schedule = [Job(prompt, sampling, 0) for prompt in (2, 5, 8, 11) for sampling in range(len(SAMPLINGS))]
    engine = models[2].engine(n_slots=16, n_contexts=1, token_budget=48)
    events = serve(engine, schedule)
    stats = engine.stats()
    assert stats.preempted > 0
    assert stats.cached_tokens > 0
    assert all(answer(events[i]) == alone(job) for i, job in enumerate(schedule))
    if keeps_states(models):
        assert engine.states.n_snapshots > 0
    longest = max(events.values(), key=len)[-1]
    assert longest.usage.prompt_tokens + longest.usage.output_tokens > 160


@pytest.mark.parametrize(("drafter", "least"), [("itself", 0.99), ("text", 0.0), ("other", 0.0)])
def test_guesses_are_right_as_often_as_the_guesser_is_good(models, drafts, alone, drafter, least):
    engine = models[1].engine(n_slots=1, draft=drafts[drafter])
    events = serve(engine, [Job(prompt, 0, 0) for prompt in (2, 5, 8)], n_draft=4)
    assert all(answer(events[i]) == alone(Job(prompt, 0, 0)) for i, prompt in enumerate((2, 5, 8)))
    stats = engine.stats()
    if keeps_states(models):
        assert stats.drafted_tokens == 0
        return
    assert stats.drafted_tokens > 0
    assert least <= stats.accepted_tokens / stats.drafted_tokens
    if drafter == "itself":
        assert stats.steps < stats.output_tokens / 2
