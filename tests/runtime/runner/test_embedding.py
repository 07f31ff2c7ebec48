"""Embedding in runner processes: beside streams, refused, aborted, and where nothing is generated."""

import asyncio

import numpy as np
import pytest
import torch
from support.encoders import HIDDEN, write_encoder

from gristmill.runtime import open_model
from gristmill.runtime.embedding_input import EmbeddingInput
from gristmill.runtime.errors import InvalidRequest, PromptTooLong
from gristmill.runtime.events import Piece
from gristmill.runtime.params import Sampling
from gristmill.runtime.runner.client import Runner
from gristmill.runtime.runner.embedding import EmbeddingWork
from gristmill.runtime.runner.messages import Embed, Embedded, Failed, Load

TEXTS = ["the mill stood", "", "flour! " * 20, "grain"]


@pytest.fixture(scope="module")
def encoder_path(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("encoder") / "m.gguf", "bert")


@pytest.fixture
async def runner(tiny_path):
    runner = await Runner.start(Load(path=str(tiny_path), num_ctx=256, n_slots=4, num_batch=32))
    yield runner
    await runner.close()


@pytest.fixture
async def encoder(encoder_path):
    runner = await Runner.start(Load(path=str(encoder_path), num_ctx=64))
    yield runner
    await runner.close()


def vectors_of(answer):
    return torch.from_numpy(np.frombuffer(answer.vectors, "<f4").reshape(-1, answer.dim).copy())


async def test_an_encoders_vectors_are_those_of_the_model(encoder, encoder_path):
    assert encoder.ready.kv_bytes == 0
    answer = await encoder.embed(TEXTS)
    model = open_model(encoder_path)
    assert torch.equal(vectors_of(answer), model.embed(TEXTS))
    assert answer.n_tokens == [len(model.tokenizer.encode(text)) for text in TEXTS]
    by_ids = await encoder.embed([model.tokenizer.encode(text) for text in TEXTS])
    assert by_ids == answer or by_ids.vectors == answer.vectors
    assert (await encoder.embed([])).vectors == b""


async def test_vectors_as_they_are_have_the_direction_of_those_of_length_one(encoder):
    plain = vectors_of(await encoder.embed(TEXTS, normalize=False))
    unit = vectors_of(await encoder.embed(TEXTS))
    assert not torch.allclose(plain, unit)
    assert torch.allclose(plain / plain.norm(dim=1, keepdim=True), unit, atol=1e-6)


async def test_a_reranking_model_sees_query_and_document_together(tmp_path):
    head = {"cls.output.weight": torch.ones(1, HIDDEN), "cls.output.bias": torch.zeros(1)}
    path = write_encoder(tmp_path / "rank.gguf", "bert", pooling=4, extra=head)
    runner = await Runner.start(Load(path=str(path), num_ctx=16))
    try:
        answer = await runner.embed(["the grain", "flour"], query="the mill")
        read = EmbeddingInput(open_model(path).tokenizer, 16)
        pairs = [read.pair("the mill", text, truncate=False) for text in ("the grain", "flour")]
        assert answer.vectors == (await runner.embed(pairs)).vectors
        assert answer.dim == 1
        assert answer.n_tokens == [7, 6]
        with pytest.raises(PromptTooLong):
            await runner.embed(["flour " * 20], query="the mill")
        cut = await runner.embed(["flour " * 20], query="the mill", truncate=True)
        assert cut.n_tokens == [16]
    finally:
        await runner.close()


async def test_an_encoder_refuses_to_generate_and_lives_on(encoder):
    with pytest.raises(InvalidRequest, match="does not generate text"):
        async for _ in encoder.submit("hello", Sampling()):
            pass
    assert await encoder.count("the mill") == 4
    assert (await encoder.ping()).running == 0
    assert (await encoder.embed(["the mill"])).dim == 64


async def test_what_cannot_be_embedded_is_the_callers_error(encoder):
    with pytest.raises(PromptTooLong, match="the input length exceeds the context length"):
        await encoder.embed(["fine", "grind " * 100])
    assert (await encoder.embed(["grind " * 100], truncate=True)).n_tokens == [64]
    with pytest.raises(InvalidRequest, match="outside the vocabulary"):
        await encoder.embed([[1, 2, 10**6]])


async def test_many_requests_at_once_give_the_vectors_of_each_alone(encoder):
    alone = [await encoder.embed([text]) for text in TEXTS * 3]
    together = await asyncio.gather(*(encoder.embed([text]) for text in TEXTS * 3))
    assert [a.vectors for a in together] == [a.vectors for a in alone]


async def test_streams_go_on_while_texts_are_embedded(runner, tiny_path):
    texts = [f"text number {i} " * 4 for i in range(60)]
    embedding = asyncio.create_task(runner.embed(texts))
    n_pieces = 0
    while not embedding.done():
        async for event in runner.submit("endless", Sampling(temperature=1.0, seed=n_pieces, max_tokens=100)):
            n_pieces += isinstance(event, Piece)
    assert n_pieces > len(texts)  # each text is two passes, and a step lies between two
    model = open_model(tiny_path, n_ctx=256)
    expected = model.embedder(32)([model.tokenizer.encode(text) for text in texts])
    assert torch.equal(vectors_of(await embedding), expected)


async def test_who_looks_on_sees_texts_that_wait_and_passes_that_are_done(encoder):
    before = await encoder.ping()
    embedding = asyncio.create_task(encoder.embed(["flour and water"] * 300))
    for _ in range(500):
        during = await encoder.ping()
        if during.running:
            break
    assert during.running == 1
    await embedding
    after = await encoder.ping()
    assert (before.running, after.running) == (0, 0)
    assert after.steps > before.steps


async def test_leaving_gives_the_work_up(runner):
    texts = ["a text that takes its time " * 8] * 2000
    leaving = asyncio.create_task(runner.embed(texts))
    await asyncio.sleep(0.2)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    answer = await runner.embed(["next"])
    assert answer.n_tokens == [4]


# -- the work itself, step by step --------------------------------------------------------------------------------


@pytest.fixture
def work(tiny):
    return EmbeddingWork(tiny.embedder(32), EmbeddingInput(tiny.tokenizer, tiny.n_ctx))


def until_idle(work):
    answers, n_steps = [], 0
    while not work.idle:
        answers += work.step()
        n_steps += 1
        assert n_steps < 100
    return answers, n_steps


def test_a_step_is_one_pass(work):
    work.submit(Embed(id=1, inputs=[[1] * 32] * 3 + [[1] * 100]))
    answers, n_steps = until_idle(work)
    assert [type(answer) for answer in answers] == [Embedded]
    assert n_steps == 3 + 4


def test_an_abort_in_the_middle_of_a_long_text_ends_it_and_leaves_the_others(work):
    work.submit(Embed(id=1, inputs=[[1] * 200]))
    work.submit(Embed(id=2, inputs=[[1] * 5]))
    assert not work.step()
    work.abort(1)
    work.abort(77)
    answers, n_steps = until_idle(work)
    assert [(type(answer), answer.id) for answer in answers] == [(Failed, 1), (Embedded, 2)]
    assert n_steps == 1


def test_a_failing_pass_fails_the_requests_in_it_only(work, monkeypatch):
    embed = work.embedder.embed

    def fails_on_threes(texts, *, normalize):
        if [3] in texts:
            raise RuntimeError("a fault of the model")
        return embed(texts, normalize=normalize)

    def passes(texts, *, normalize):
        return (yield from fails_on_threes(texts, normalize=normalize))

    monkeypatch.setattr(work.embedder, "embed", passes)
    work.submit(Embed(id=1, inputs=[[1] * 30, [3]]))
    work.submit(Embed(id=2, inputs=[[1] * 30]))
    answers, _ = until_idle(work)
    assert [(type(answer), answer.id) for answer in answers] == [(Failed, 1), (Embedded, 2)]


def test_numbers_that_are_none_fail_the_request_that_has_them(work, monkeypatch):
    embed = work.embedder.embed

    def poisoned(texts, *, normalize):
        vectors = yield from embed(texts, normalize=normalize)
        return torch.where(torch.tensor([3 in ids for ids in texts])[:, None], float("nan"), vectors)

    monkeypatch.setattr(work.embedder, "embed", poisoned)
    work.submit(Embed(id=1, inputs=[[1], [3]]))
    work.submit(Embed(id=2, inputs=[[1]]))
    answers, _ = until_idle(work)
    assert [type(answer) for answer in answers] == [Failed, Embedded]
    assert (answers[0].kind, answers[0].error) == ("InvalidRequest", "embedding contains NaN or Inf values (input 1)")
