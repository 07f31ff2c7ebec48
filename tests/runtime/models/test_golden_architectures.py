"""Tiny random models of each architecture against the logits llama.cpp computes for them."""

import pytest
import torch
from support.golden import architecture_files, golden_arrays, unpacked

from gristmill.runtime import architectures, open_model
from gristmill.runtime.kv_cache import PAGE_SIZE, KVCache
from gristmill.runtime.step import Forward, Span

NMSE_LIMIT = 1e-6


@pytest.fixture(
    params=[(name, backend) for name in architecture_files() for backend in ("reference", "auto")], ids="-".join
)
def golden(request):
    """(model, token ids, logits)"""
    name, backend = request.param
    data = golden_arrays(f"archs/{name}.npz")
    model = open_model(unpacked(f"archs/{name}.gguf.xz"), backend=backend, kv_type="f32")
    return model, data["tokens"].tolist(), torch.from_numpy(data["logits"])


def nmse(logits, expected):
    return ((logits - expected).square().mean() / expected.square().mean()).item()


def run_in_chunks(model, ids, sizes):
    cache = KVCache.allocate(model.decoder.kept, 8, "f32", model.ops.device)
    forward, start, outputs = Forward(model.decoder, cache, 8 * PAGE_SIZE), 0, []
    pages = [5, 2, 7, 0, 1, 3, 4, 6]
    for size in sizes:
        span = Span(ids[start : start + size], start, pages, all_logits=True, state_read=0 if start else -1)
        outputs.append(forward([span]).clone())
        start += size
    return torch.cat(outputs)


def test_all_tokens_at_once(golden):
    model, ids, expected = golden
    assert nmse(model.logits(ids), expected) < NMSE_LIMIT


def test_token_by_token(golden):
    model, ids, expected = golden
    assert nmse(run_in_chunks(model, ids, [1] * len(ids)), expected) < NMSE_LIMIT


def test_chunks_change_no_bit(golden):
    model, ids, _ = golden
    whole = model.logits(ids)
    assert torch.equal(run_in_chunks(model, ids, [7, 1, 20, 3, 9]), whole)


def test_every_golden_architecture_is_built():
    assert {name.rsplit("-", 1)[0] for name in architecture_files()} <= set(architectures())
