"""Perplexity, divergence and importance against direct computations on a tiny model, and golden figures."""

import math

import pytest
import torch
from support.golden import golden_arrays
from support.models import smollm2_path
from support.tiny_model import write_tiny_model

from gristmill.kernels import FORMATS
from gristmill.kernels.ops import open_ops
from gristmill.runtime import open_model
from gristmill.runtime.errors import InvalidRequest
from gristmill.runtime.measure import collect_importance, diverge, perplexity, text_windows
from gristmill.runtime.measure.importance import listening_ops
from gristmill.runtime.measure.requantized import requantizing_ops
from gristmill.runtime.model import open_with

TEXT = "The quick brown fox jumps over the lazy dog. " * 6


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("m") / "tiny.gguf", quantize=False)


@pytest.fixture(scope="module")
def model(path):
    return open_model(path, backend="reference")


def plain_nll(model, tokens, first):
    rows = model.logits(tokens).double().log_softmax(-1)
    return [-rows[i - 1, tokens[i]].item() for i in range(first, len(tokens))]


def test_windows_are_scored_in_their_second_half(model):
    windows = text_windows(model, TEXT, 64)
    ids = model.tokenizer.encode(TEXT, add_special=True, parse_special=False)
    assert [token for window in windows for token in window.tokens] == ids[: 64 * len(windows)]
    nll = [n for window in windows for n in plain_nll(model, window.tokens, 33)]
    found = perplexity(model, windows)
    assert found.n_tokens == len(nll) == 31 * len(windows)
    assert found.nll == pytest.approx(sum(nll) / len(nll), rel=1e-6)
    error = torch.tensor(nll).std(correction=0).item() / math.sqrt(len(nll) - 1)
    assert found.nll_error == pytest.approx(error, rel=1e-4)


@pytest.mark.parametrize("n_ctx", [4, 31, 64, 512])
def test_every_token_but_the_first_is_scored_once_where_asked_for(model, n_ctx):
    ids = model.tokenizer.encode(TEXT, add_special=True, parse_special=False)
    windows = text_windows(model, TEXT, n_ctx, every_token=True)
    assert [token for window in windows for token in window.targets] == ids[1:]
    assert all(len(window.tokens) <= n_ctx for window in windows)
    assert perplexity(model, windows).n_tokens == len(ids) - 1


@pytest.mark.parametrize(("text", "n_ctx", "says"), [("a", 64, "more text"), (TEXT, 3, "ctx"), (TEXT, 513, "ctx")])
def test_what_cannot_be_scored_is_refused(model, text, n_ctx, says):
    with pytest.raises(InvalidRequest, match=says):
        text_windows(model, text, n_ctx)


def test_golden_likelihoods_of_smollm2():
    golden = golden_arrays("smollm2_logits.npz")
    model = open_model(smollm2_path(), backend="reference", n_ctx=512, kv_type="f32")
    found = perplexity(model, text_windows(model, str(golden["text"]), 512, every_token=True))
    assert found.n_tokens == len(golden["nll"])
    assert found.nll == pytest.approx(float(golden["nll"].astype("float64").mean()), abs=1e-4)


def test_a_model_does_not_diverge_from_itself(model):
    found = diverge(model, model, text_windows(model, TEXT, 64)).summary()
    assert found["kl_max"] == found["p_change_rms"] == 0.0
    assert found["same_top"] == found["perplexity_ratio"] == 1.0


def test_divergence_is_that_of_the_formula(path, model):
    ops, backend = requantizing_ops(open_ops("reference"), FORMATS["Q4_0"])
    other = open_with(ops, path)
    windows = text_windows(model, TEXT, 64)
    found = diverge(other, model, windows)
    p, q = (torch.cat([m.logits(w.tokens)[32:-1] for w in windows]).double().log_softmax(-1) for m in (model, other))
    torch.testing.assert_close(found.kl, (p.exp() * (p - q)).sum(-1), rtol=1e-4, atol=1e-9)
    summary = found.summary()
    assert summary["same_top"] == pytest.approx((p.argmax(-1) == q.argmax(-1)).double().mean().item())
    assert 0 < summary["kl_p50"] <= summary["kl_p99"] <= summary["kl_max"]
    assert backend.n_bytes * 8 / backend.n_elems == 4.5


def test_models_of_other_vocabularies_are_not_compared(tmp_path, model):
    specials = ("<a>", "<b>", "<|im_start|>", "<|im_end|>", "<|endoftext|>")
    other = open_model(write_tiny_model(tmp_path / "other.gguf", specials=specials))
    with pytest.raises(InvalidRequest, match="vocabularies"):
        diverge(other, model, [])


@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_importance_is_the_sum_of_squares_of_what_each_matrix_reads(path, model, backend):
    ops, listener = listening_ops(open_ops(backend))
    windows = text_windows(model, TEXT, 64)
    found = collect_importance(open_with(ops, path), listener, windows, dataset="x")
    assert found.n_chunks == len(windows)
    assert {name.split(".")[2] for name in found.entries} == {
        "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down",
    }  # fmt: skip
    embedding = model._checkpoint.tensor("token_embd.weight").view(torch.float32)
    ids = torch.tensor([token for window in windows for token in window.tokens[:-1]])
    x = embedding[ids]
    x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5)  # the norm's weights are ones
    torch.testing.assert_close(found.entries["blk.0.attn_q.weight"].sums[0], x.square().sum(0), rtol=1e-4, atol=1e-4)
    assert found.entries["blk.0.attn_q.weight"].counts.tolist() == [len(ids)]
    assert torch.equal(found.entries["blk.0.attn_q.weight"].sums, found.entries["blk.0.attn_v.weight"].sums)
