"""Adapters of every matrix of a model, architecture by architecture, against weights that they are merged into."""

import pytest
import torch
from support.golden import golden_arrays, unpacked
from support.lora import adapter_of, merged, unscaled
from support.paged import rand

from gristmill.runtime import open_model
from gristmill.runtime.checkpoint import open_checkpoint
from gristmill.runtime.lora import AdapterRows

NAMES = [
    "llama-dense",
    "llama-moe",
    "qwen2-dense",
    "qwen3-dense",
    "gemma2-dense",
    "gemma3-dense",
    "phi2-dense",
    "phi3-dense",
    "command-r-dense",
    "granite-dense",
    "gpt2-dense",
    "falcon-dense",
    "qwen3moe-moe",
    "gpt-oss-moe",
    "deepseek-moe",
    "llama4-moe",
    "smallthinker-moe",
    "mamba-dense",
    "mamba2-dense",
    "lfm2-dense",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_additions_are_what_merged_weights_are(tmp_path, name, backend):
    source = unscaled(tmp_path / "base.gguf", unpacked(f"archs/{name}.gguf.xz"))
    ids = golden_arrays(f"archs/{name}.npz")["tokens"].tolist()
    model = open_model(source, backend=backend, kv_type="f32")
    plain = model.logits(ids).clone()
    with open_checkpoint(source) as checkpoint:
        tied = "output.weight" not in checkpoint.tensors
    shapes = {key: shape for key, shape in model.adapters.shapes.items() if not (tied and key.startswith("token_embd"))}
    path, deltas = adapter_of(tmp_path / "a.gguf", shapes, model.architecture)
    found = model.logits(ids, adapters=[str(path)]).clone()
    expected = open_model(merged(tmp_path / "m.gguf", source, deltas), backend="reference", kv_type="f32").logits(ids)
    assert ((found - expected).square().mean() / expected.square().mean()).item() < 1e-6
    assert (found - plain).abs().max() > 0.01
    assert torch.equal(model.logits(ids), plain), "an adapter that is not asked for changes no bit"


def test_what_scales_a_weight_does_not_scale_additions(tmp_path):
    model = open_model(unpacked("archs/llama-dense.gguf.xz"), backend="reference")
    linear = model.decoder.blocks[0].mixer.output
    assert linear.scale is not None
    path, deltas = adapter_of(tmp_path / "a.gguf", {"blk.0.attn_output.weight": linear.weight.shape}, "llama")
    adapter, x = model.adapters.acquire([path]), rand(5, linear.weight.shape[1])
    ids = torch.full((5,), adapter.id, dtype=torch.int32)
    with model.adapters.step(AdapterRows(ids, ids)):
        adapted = linear(x)
    added = x @ torch.from_numpy(deltas["blk.0.attn_output.weight"]).float().T
    torch.testing.assert_close(adapted - linear(x), added, rtol=1e-4, atol=1e-4)
