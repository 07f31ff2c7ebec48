"""Batches of texts as vectors: the same vector in any company, pooling of decoders, what is refused."""

import math
import random

import pytest
import torch
from support.encoders import write_encoder
from support.tiny_model import write_tiny_model

from gristmill.kernels import FORMATS
from gristmill.runtime import open_checkpoint, open_model
from gristmill.runtime.errors import InvalidRequest, PromptTooLong
from gristmill.runtime.piecewise import to_end

LENGTHS = [1, 2, 15, 16, 17, 33, 100, 128]


def random_ids(length, n_vocab=18, seed=0):
    return random.Random(f"{length} {seed}").choices(range(5, n_vocab), k=length)


MODELS = ["bert-1", "bert-2", "nomic-bert-1", "gemma-embedding-1", "gemma-embedding-3", "llama"]


@pytest.fixture(scope="module", params=MODELS)
def model(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("m") / "m.gguf"
    if request.param == "llama":
        return open_model(write_tiny_model(path), n_ctx=128)
    architecture, kind = request.param.rsplit("-", 1)
    return open_model(write_encoder(path, architecture, pooling=int(kind), window=20))


@pytest.mark.parametrize("token_budget", [16, 64, 512])
def test_company_changes_no_bit_of_a_vector(model, token_budget):
    embedder = model.embedder(token_budget)
    texts = [random_ids(n) for n in LENGTHS]
    alone = {len(ids): embedder([ids])[0] for ids in texts}
    for seed in range(3):
        company = [*texts, *(random_ids(n, seed=1) for n in (1, 1, 7, 60))]
        random.Random(seed).shuffle(company)
        for ids, vector in zip(company, embedder(company), strict=True):
            if ids in texts:
                assert torch.equal(vector, alone[len(ids)]), len(ids)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_threads_change_no_bit_of_a_vector(tmp_path, n_threads):
    path = write_encoder(tmp_path / "m.gguf", "bert")
    texts = [random_ids(n) for n in LENGTHS]
    assert torch.equal(open_model(path, n_threads=n_threads).embed(texts), open_model(path, n_threads=2).embed(texts))


def test_the_reference_agrees_with_the_native_kernels(tmp_path):
    path = write_encoder(tmp_path / "m.gguf", "gemma-embedding", window=20)
    texts = [random_ids(n) for n in LENGTHS]
    slow, fast = (open_model(path, backend=backend).embed(texts) for backend in ("reference", "auto"))
    torch.testing.assert_close(slow, fast, rtol=1e-4, atol=1e-5)


def test_batches_are_whole_texts_in_order_within_the_budget(tiny):
    embedder = tiny.embedder(64)
    # A page of 16 is the least that a text takes; 100 tokens are more than the budget and go alone.
    assert embedder.batches([16, 1, 1, 20, 100, 1, 48, 48]) == [[0, 1, 2], [3], [4], [5, 6], [7]]
    assert embedder.batches([]) == []
    assert embedder([]).shape == (0, tiny.embedder().dim)


def token_embedding(path):
    with open_checkpoint(path) as checkpoint:
        info = checkpoint.tensors["token_embd.weight"]
        return FORMATS[info.format.name].decode(checkpoint.tensor("token_embd.weight"))


def test_a_decoder_gives_what_its_output_head_reads(tiny_path):
    model = open_model(tiny_path, backend="reference", kv_type="f32")
    ids = model.tokenizer.encode("the mill stood where it had always stood")
    state = model.embed([ids], normalize=False)[0]
    torch.testing.assert_close(token_embedding(tiny_path) @ state, model.logits(ids)[-1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("length", [65, 128, 200])
def test_a_decoders_long_text_goes_in_pieces(tiny, length):
    ids = random_ids(length, 250)
    embedder = tiny.embedder(64)
    steps, n_passes = embedder.embed([ids], normalize=True), 1
    while True:
        try:
            next(steps)
            n_passes += 1
        except StopIteration as stop:
            vectors = stop.value
            break
    assert n_passes == math.ceil(length / 64)
    torch.testing.assert_close(vectors, tiny.embedder(512)([ids]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_pieces_of_a_decoders_text_are_pooled_like_the_whole(tmp_path, kind):
    path = write_tiny_model(tmp_path / "m.gguf", pooling=kind)
    model, ids = open_model(path, backend="reference"), random_ids(150, 250)
    whole = to_end(model.embedder(512).embed([ids], normalize=False))
    pieces = to_end(model.embedder(32).embed([ids], normalize=False))
    torch.testing.assert_close(pieces, whole, rtol=1e-4, atol=1e-5)
    other = {1: 3, 2: 1, 3: 2}[kind]
    different = open_model(write_tiny_model(tmp_path / "o.gguf", pooling=other), backend="reference")
    assert (different.embed([ids], normalize=False) - whole).abs().max() > 0.01


def test_vectors_have_length_one_unless_asked_otherwise(model):
    vectors, raw = (model.embed([random_ids(n) for n in (3, 40)], normalize=normalize) for normalize in (True, False))
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(raw / raw.norm(dim=1, keepdim=True), vectors)
    assert (raw.norm(dim=1) - 1).abs().min() > 0.01


def test_one_text_is_a_list_of_one(tmp_path):
    model = open_model(write_encoder(tmp_path / "m.gguf", "bert"))
    assert torch.equal(model.embed("The mill stood"), model.embed(["The mill stood"]))
    assert torch.equal(model.embed("the mill"), model.embed([model.tokenizer.encode("the mill")]))


def test_a_text_that_is_too_long_is_refused_or_loses_its_end(tmp_path):
    model = open_model(write_encoder(tmp_path / "m.gguf", "bert"), n_ctx=10)
    with pytest.raises(PromptTooLong, match=r"^the input length exceeds the context length$"):
        model.embed(["fine", "grind " * 9])
    cut = model.embed(["grind " * 9 + "flour"], truncate=True)
    assert torch.equal(cut, model.embed(["grind " * 8]))  # [CLS] and [SEP] stay
    assert torch.equal(model.embed([[7] * 11], truncate=True), model.embed([[7] * 10]))
    least = open_model(tmp_path / "m.gguf", n_ctx=2)
    with pytest.raises(InvalidRequest, match=r"^input after truncation exceeds maximum context length$"):
        least.embed(["grind"], truncate=True)


def test_bad_inputs_are_refused_by_name(tiny):
    with pytest.raises(InvalidRequest, match="input is empty"):
        tiny.embed(["fine", ""])  # this model puts no special token in front
    with pytest.raises(InvalidRequest, match="token id 100000 is outside the vocabulary of"):
        tiny.embed([[1, 100_000]])


def test_a_model_that_gives_no_numbers_says_so(tmp_path):
    broken = {"token_embd_norm.weight": torch.full((64,), float("nan"))}
    model = open_model(write_encoder(tmp_path / "m.gguf", "bert", extra=broken))
    with pytest.raises(InvalidRequest, match=r"^embedding contains NaN or Inf values$"):
        model.embed(["the mill"])
