"""LoRA adapters against merged weights; in batches with others and with none; refused where they do not fit."""

import numpy as np
import pytest
import torch
from support.lora import SHAPES, adapter, merged, write
from support.tiny_model import HIDDEN, write_tiny_model

from gristmill.runtime import open_model
from gristmill.runtime.errors import GristmillError, InvalidFile, UnsupportedModel
from gristmill.runtime.events import Failed, Finished, Piece
from gristmill.runtime.params import Sampling

IDS = [5, 77, 200, 31, 9, 120, 64, 3, 18, 250, 7]


@pytest.fixture
def base(tmp_path):
    return write_tiny_model(tmp_path / "base.gguf", quantize=False)


@pytest.mark.parametrize("backend", ["reference", "auto"])
@pytest.mark.parametrize(
    ("rank", "modules"), [(1, ("attn_q",)), (3, ("ffn_gate",)), (8, ("attn_v", "ffn_up")), (33, tuple(SHAPES))]
)
def test_an_adapter_computes_what_merged_weights_do(tmp_path, base, backend, rank, modules):
    path, deltas = adapter(tmp_path / "a.gguf", rank, modules=modules)
    model = open_model(base, backend=backend)
    plain = model.logits(IDS)
    name = model.load_adapter(path)
    found = model.logits(IDS, adapters=[name])
    expected = open_model(merged(tmp_path / "m.gguf", base, deltas), backend="reference").logits(IDS)
    assert ((found - expected).square().mean() / expected.square().mean()).item() < 1e-6
    assert (found - plain).abs().max() > 0.01
    assert torch.equal(model.logits(IDS), plain), "an adapter that is loaded and not asked for changes nothing"


def test_adapters_add_up(tmp_path, base):
    (one, first), (two, second) = (adapter(tmp_path / f"{i}.gguf", 4, seed=i) for i in range(2))
    model = open_model(base, backend="reference")
    found = model.logits(IDS, adapters=[model.load_adapter(one), model.load_adapter(two)])
    expected = open_model(merged(tmp_path / "m.gguf", base, first, second), backend="reference").logits(IDS)
    assert ((found - expected).square().mean() / expected.square().mean()).item() < 1e-9


def answers(engine, requests, n=12):
    """The texts of requests (prompt, adapters) that run at once."""
    texts = {i: [] for i in range(len(requests))}
    for i, (prompt, adapters) in enumerate(requests):
        engine.submit(i, prompt, Sampling(temperature=0, max_tokens=n), [], adapters=adapters)
    left = set(texts)
    while left:
        for event in engine.step():
            if isinstance(event, Piece):
                texts[event.id] += event.tokens
            elif isinstance(event, Failed):
                raise GristmillError(event.error)
            elif isinstance(event, Finished):
                left.discard(event.id)
        engine.check_integrity()
    return list(texts.values())


@pytest.mark.parametrize("backend", ["reference", "auto"])
@pytest.mark.parametrize("quantize", [False, True])
def test_a_batch_may_hold_other_adapters_and_none(tmp_path, backend, quantize):
    base = write_tiny_model(tmp_path / "base.gguf", quantize=quantize)
    paths = [str(adapter(tmp_path / f"{i}.gguf", rank, seed=i)[0]) for i, rank in enumerate((2, 5, 16))]
    kinds = [(), (paths[0],), (paths[1],), (paths[2],), (paths[0], paths[2])]
    prompts = [[int(t) for t in np.random.default_rng(i).integers(0, 256, 5 + 7 * i)] for i in range(len(kinds))]
    requests = list(zip(prompts, kinds, strict=True))
    model = open_model(base, backend=backend)
    alone = [answers(model.engine(n_slots=8), [request])[0] for request in requests]
    assert answers(model.engine(n_slots=8, token_budget=16), requests) == alone
    assert answers(model.engine(n_slots=8), list(reversed(requests))) == alone[::-1]


def test_the_same_prompt_under_another_adapter_shares_no_keys(tmp_path, base):
    path = str(adapter(tmp_path / "a.gguf", 8)[0])
    model = open_model(base)
    prompt = list(range(60))
    alone = {kind: answers(model.engine(n_slots=1), [(prompt, kind)])[0] for kind in ((), (path,))}
    engine = model.engine(n_slots=2)
    for kind in ((), (path,), (), (path,)):
        assert answers(engine, [(prompt, kind)])[0] == alone[kind]
    assert engine.stats().cached_tokens == 2 * 48, "each kind finds its own"


def test_sequences_with_adapters_may_be_preempted(tmp_path, base):
    path = str(adapter(tmp_path / "a.gguf", 4)[0])
    model = open_model(base, n_ctx=64)
    requests = [(list(range(i, i + 30)), (path,) if i % 2 else ()) for i in range(4)]
    alone = [answers(model.engine(n_slots=1), [request], 30)[0] for request in requests]
    engine = model.engine(n_slots=4, n_contexts=2)
    assert answers(engine, requests, 30) == alone
    assert engine.stats().preempted


def test_a_bad_adapter_fails_its_request_only(tmp_path, base):
    engine = open_model(base).engine(n_slots=2)
    with pytest.raises(UnsupportedModel, match="adapter does not match base model: "):
        engine.submit(1, [1, 2, 3], Sampling(max_tokens=2), [], adapters=(str(base),))
    with pytest.raises(InvalidFile, match="not there") as error:
        engine.submit(1, [1, 2, 3], Sampling(max_tokens=2), [], adapters=(str(tmp_path / "gone.gguf"),))
    assert str(tmp_path) not in str(error.value)
    engine.submit(2, [1, 2, 3], Sampling(max_tokens=2), [])
    events = [event for _ in range(6) for event in engine.step()]
    assert {event.id for event in events} == {2}
    engine.check_integrity()


A, B = np.ones((3, HIDDEN), np.float32), np.ones((HIDDEN, 3), np.float32)
Q = "blk.0.attn_q.weight"


@pytest.mark.parametrize(
    ("tensors", "options", "says"),
    [
        ({f"{Q}.lora_a": A, f"{Q}.lora_b": B}, {"architecture": "qwen2"}, "qwen2"),
        ({f"{Q}.lora_a": A, f"{Q}.lora_b": B}, {"alpha": float("inf")}, "alpha"),
        ({f"{Q}.lora_a": A, f"{Q}.lora_b": B}, {"kind": "model"}, "not a LoRA adapter"),
        ({f"{Q}.lora_a": A, f"{Q}.lora_b": B}, {"lora": "aloha"}, "not a LoRA adapter"),
        ({f"{Q}.lora_a": A}, {}, "only one of"),
        ({f"{Q}.lora_a": A, f"{Q}.lora_b": B[:, :2].copy()}, {}, "its pair"),
        ({f"{Q}.lora_a": A[:, :9].copy(), f"{Q}.lora_b": B}, {}, "its pair"),
        ({f"{Q}.lora_a": A[:0].copy(), f"{Q}.lora_b": B[:, :0].copy()}, {}, "its pair"),
        ({f"{Q}.lora_a": A * np.nan, f"{Q}.lora_b": B}, {}, "not finite"),
        ({"blk.9.attn_q.weight.lora_a": A, "blk.9.attn_q.weight.lora_b": B}, {}, "no matrix"),
        ({"blk.0.attn_norm.weight.lora_a": A, "blk.0.attn_norm.weight.lora_b": B}, {}, "no matrix"),
        ({"token_embd.weight.lora_a": A, "token_embd.weight.lora_b": B}, {}, "its pair"),
        ({f"{Q}.magnitude": A}, {}, "pairs"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused_by_name(tmp_path, base, tensors, options, says):
    model = open_model(base)
    with pytest.raises(UnsupportedModel, match="adapter does not match base model: ") as error:
        model.load_adapter(write(tmp_path / "a.gguf", tensors, **options))
    assert says in str(error.value)
