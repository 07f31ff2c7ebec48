"""Tiny random models of each architecture against the logits llama.cpp computes for them."""

import pytest
import torch
from support.golden import golden_arrays, unpacked

from gristmill.runtime import open_model
from gristmill.runtime.kv_cache import PAGE_SIZE, KVCache
from gristmill.runtime.step import Forward, Span

NAMES = [
    "llama-dense",
    "llama-moe",
    "mistral3-dense",
    "internlm2-dense",
    "baichuan-dense",
    "qwen2-dense",
    "qwen2vl-dense",
    "qwen3-dense",
    "qwen3vl-dense",
    "gemma-dense",
    "gemma2-dense",
    "gemma3-dense",
    "phi2-dense",
    "phi3-dense",
    "chatglm-dense",
    "glm4-dense",
    "command-r-dense",
    "cohere2-dense",
    "granite-dense",
    "minicpm-dense",
    "smollm3-dense",
    "olmo-dense",
    "olmo2-dense",
    "exaone-dense",
    "exaone4-dense",
    "nemotron-dense",
    "falcon-dense",
    "ernie4_5-moe",
    "seed_oss-dense",
    "stablelm-dense",
    "starcoder-dense",
    "starcoder2-dense",
    "gpt2-dense",
    "gptneox-dense",
    "arcee-dense",
    "paddleocr-moe",
    "qwen2moe-moe",
    "qwen3moe-moe",
    "qwen3vlmoe-moe",
    "olmoe-moe",
    "phimoe-moe",
    "granitemoe-moe",
    "granite-moe",
    "dbrx-moe",
    "glm4moe-moe",
    "ernie4_5-moe-moe",
    "bailingmoe2-moe",
    "deepseek-moe",
    "deepseek2-moe",
    "mistral4-moe",
    "minicpm3-dense",
    "hunyuan-dense-dense",
    "hunyuan-moe-moe",
    "minimax-m2-moe",
    "bloom-dense",
    "mpt-dense",
    "refact-dense",
    "gpt-oss-moe",
    "mimo2-moe",
    "smallthinker-moe",
    "llama4-moe",
    "grok-moe",
]
NMSE_LIMIT = 1e-6


@pytest.fixture(params=[(name, backend) for name in NAMES for backend in ("reference", "auto")], ids="-".join)
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
