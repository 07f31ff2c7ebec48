"""Runner processes, for real: start, stream, abort, crash, unload."""

import asyncio
import os
import signal

import pytest

from gristmill.runtime.errors import (
    InvalidFile,
    InvalidRequest,
    ModelError,
    RunnerError,
    RunnerStopped,
    UnsupportedModel,
)
from gristmill.runtime.events import Finished, Piece, Reading
from gristmill.runtime.params import Sampling
from gristmill.runtime.runner.client import Runner
from gristmill.runtime.runner.messages import Load

GREEDY = Sampling(temperature=0, max_tokens=8)
ENDLESS = Sampling(temperature=1.0, seed=1, max_tokens=100_000)


@pytest.fixture
async def runner(tiny_path):
    runner = await Runner.start(Load(path=str(tiny_path), num_ctx=256, n_slots=8, backend="reference"))
    yield runner
    await runner.close()


async def collect(runner, prompt, sampling=GREEDY):
    return [event async for event in runner.submit(prompt, sampling)]


def tokens_of(events):
    return [token for event in events if isinstance(event, Piece) for token in event.tokens]


async def until_idle(runner):
    for _ in range(500):
        stats = await runner.ping()
        if not stats.running and not stats.waiting:
            return stats
        await asyncio.sleep(0.01)
    raise AssertionError(f"the runner does not come to rest: {stats}")


async def test_loading_reports_progress_and_what_was_loaded(tiny_path):
    seen = []
    runner = await Runner.start(Load(path=str(tiny_path), num_ctx=100_000), on_progress=seen.append)
    try:
        assert runner.ready.architecture == "llama"
        assert runner.ready.n_ctx == 512  # the training context
        assert runner.ready.memory_bytes > runner.ready.weight_bytes > 0
        assert seen[-1].done == seen[-1].total > 0
    finally:
        await runner.close()


async def test_a_stream_is_pieces_and_one_finished(runner, tiny):
    events = await collect(runner, "hello there")
    assert all(isinstance(event, Piece) for event in events[:-1])
    assert isinstance(events[-1], Finished)
    assert tokens_of(events) == [t for piece in tiny.generate("hello there", GREEDY) for t in piece.tokens]


async def test_greedy_output_is_the_same_alone_and_among_seven_others(runner):
    prompts = [f"request {i} " * (i + 1) for i in range(8)]
    alone = [tokens_of(await collect(runner, prompt)) for prompt in prompts]
    together = await asyncio.gather(*(collect(runner, prompt) for prompt in prompts))
    assert [tokens_of(events) for events in together] == alone


async def test_leaving_a_stream_frees_its_pages(runner):
    free = (await runner.ping()).free_pages
    stream = runner.submit("endless", ENDLESS)
    await anext(stream)
    await stream.aclose()
    assert (await until_idle(runner)).free_pages == free


async def test_a_bad_prompt_is_the_callers_error_and_harms_nobody(runner):
    with pytest.raises(InvalidRequest, match="does not fit"):
        await collect(runner, "long " * 500)
    with pytest.raises(InvalidRequest, match="outside the vocabulary"):
        await collect(runner, [1, 2, 10**9])
    assert tokens_of(await collect(runner, "still fine"))


async def test_killing_the_process_fails_the_requests_in_flight_clearly(runner):
    streams = [runner.submit(f"endless {i}", ENDLESS) for i in range(3)]
    for stream in streams:
        await anext(stream)
    os.kill(runner.process.pid, signal.SIGKILL)
    for stream in streams:
        with pytest.raises(RunnerStopped, match="unexpectedly stopped"):
            async for _ in stream:
                pass
    assert not runner.alive
    with pytest.raises(RunnerStopped):
        await collect(runner, "too late")
    with pytest.raises(RunnerStopped):
        await runner.ping()


async def test_closing_ends_the_process(tiny_path):
    runner = await Runner.start(Load(path=str(tiny_path), num_ctx=256))
    await runner.close()
    assert runner.process.returncode is not None
    with pytest.raises(ProcessLookupError):
        os.kill(runner.process.pid, 0)
    await runner.close()  # twice is fine


async def test_a_process_that_hangs_is_noticed_by_ping(runner):
    os.kill(runner.process.pid, signal.SIGSTOP)
    with pytest.raises(RunnerStopped, match="does not answer"):
        await runner.ping(timeout_s=0.1)
    os.kill(runner.process.pid, signal.SIGCONT)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [(b"", InvalidFile, "invalid gguf"), (b"GGUF\x03\0\0\0", InvalidFile, "invalid gguf")],
)
async def test_a_malformed_file_is_refused_by_name(tmp_path, content, error, message):
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    with pytest.raises(error, match=message) as caught:
        await Runner.start(Load(path=str(path)))
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("setting", [{"kv_type": "q5_1"}, {"backend": "abacus"}])
async def test_settings_that_do_not_work_are_no_requests_fault(tiny_path, setting):
    with pytest.raises(ModelError, match=r"q5_1|abacus"):
        await Runner.start(Load(path=str(tiny_path), num_ctx=64, **setting))


async def test_an_unknown_architecture_is_refused_by_name(tmp_path):
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "perceptron")
    writer.add_context_length(8)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(UnsupportedModel, match='unsupported architecture "perceptron"; supported: arcee, '):
        await Runner.start(Load(path=str(tmp_path / "x.gguf")))


async def test_a_process_that_dies_while_loading_is_an_error(tiny_path):
    before = set(child_pids())
    starting = asyncio.create_task(Runner.start(Load(path=str(tiny_path))))
    for pid in await new_children(before):
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(RunnerError, match="terminated while loading: signal 9"):
        await starting


async def new_children(before):
    for _ in range(500):
        await asyncio.sleep(0.01)
        if children := set(child_pids()) - before:
            return children
    raise AssertionError("no process was started")


def child_pids():
    with open(f"/proc/self/task/{os.getpid()}/children") as children:
        return [int(pid) for pid in children.read().split()]


async def test_cancelling_a_load_leaves_no_process(tiny_path):
    before = set(child_pids())
    starting = asyncio.create_task(Runner.start(Load(path=str(tiny_path))))
    await new_children(before)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not set(child_pids()) - before


async def test_a_draft_model_guesses_and_answers_stay_the_same(tiny_path):
    sampling = Sampling(temperature=0, max_tokens=30, n_draft=4)
    plain, drafted = [
        await Runner.start(Load(path=str(tiny_path), num_ctx=256, draft=draft)) for draft in ("", str(tiny_path))
    ]
    try:
        said = [tokens_of(await collect(runner, "a draft", sampling)) for runner in (plain, drafted)]
        assert said[0] == said[1]
        stats = await drafted.ping()
        assert stats.accepted_tokens == stats.drafted_tokens > 10
        assert stats.steps < len(said[1]) / 2
    finally:
        await plain.close()
        await drafted.close()


async def test_counting_answers_while_a_request_runs(runner):
    running = runner.submit("a long answer", ENDLESS)
    await anext(running)
    assert await runner.count("hello") == len("hello")
    await running.aclose()


async def test_tokens_and_texts_both_ways(runner, tiny):
    found = await runner.tokenize("hé<|im_end|>", add_special=True, parse_special=True)
    assert found.ids == tiny.tokenizer.encode("hé<|im_end|>", add_special=True, parse_special=True)
    assert b"".join(found.pieces).decode().endswith("hé<|im_end|>")
    assert (await runner.detokenize(found.ids)).endswith("hé<|im_end|>")
    with pytest.raises(InvalidRequest, match="vocabulary"):
        await runner.detokenize([10**6])


async def test_who_asks_is_told_how_far_the_prompt_is_read(runner):
    prompt = "read me " * 20
    events = [event async for event in runner.submit(prompt, GREEDY, progress=True)]
    readings = [event for event in events if isinstance(event, Reading)]
    assert readings
    assert events[: len(readings)] == readings, "before the first piece"
    assert [event.done for event in readings] == sorted({event.done for event in readings})
    assert all(event.done < event.total == len(events[-1].prompt_ids) for event in readings)
    assert not any(isinstance(event, Reading) for event in await collect(runner, prompt + "again"))
