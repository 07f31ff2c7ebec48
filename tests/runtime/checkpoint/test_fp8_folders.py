"""Folders with weights of 8-bit floats and a scale for each block, as some models are published."""

import pytest
import torch
from support.hf_folder import LLAMA, MIXTRAL, llama_tensors, mixtral_tensors, write_folder

from gristmill.runtime import open_model
from gristmill.runtime.checkpoint import open_checkpoint
from gristmill.runtime.errors import InvalidFile, UnsupportedModel

IDS = [3, 1, 4, 1, 5, 9, 2, 6]
BLOCK = (3, 5)  # neither divides the matrices' sides


def quantization(block=BLOCK):
    sizes = {} if block is None else {"weight_block_size": list(block)}
    return {"quantization_config": {"quant_method": "fp8", "activation_scheme": "static", **sizes}}


def quantized(tensors, block=BLOCK):
    """The tensors as such a folder has them, and what they are worth: in bfloat16, scale by scale."""
    held, worth = {}, {}
    for name, x in tensors.items():
        if "_proj" not in name and "experts" not in name:
            held[name] = worth[name] = x
            continue
        rows, columns = block or x.shape
        small, scales, exact = x.clone(), [], x.clone()
        for i in range(0, x.shape[0], rows):
            for j in range(0, x.shape[1], columns):
                at = (slice(i, i + rows), slice(j, j + columns))
                scales.append(x[at].abs().max() / 448)
                small[at] = (x[at] / scales[-1]).to(torch.float8_e4m3fn).float()
                exact[at] = small[at] * scales[-1]
        shape = (-(-x.shape[0] // rows), -(-x.shape[1] // columns)) if block else ()
        held |= {name: small.to(torch.float8_e4m3fn), f"{name}_scale_inv": torch.stack(scales).reshape(shape)}
        worth[name] = exact.to(torch.bfloat16)
    return held, worth


@pytest.mark.parametrize("block", [BLOCK, None])
def test_a_folder_computes_what_its_weights_are_worth(tmp_path, block):
    held, worth = quantized(llama_tensors(), block)
    held["model.layers.0.self_attn.q_proj.activation_scale"] = torch.tensor(2.0)
    models = [
        open_model(write_folder(tmp_path / "q", LLAMA | quantization(block), held), backend="reference"),
        open_model(write_folder(tmp_path / "w", LLAMA, worth), backend="reference"),
    ]
    assert torch.equal(models[0].logits(IDS), models[1].logits(IDS))


def test_experts_are_put_together_afterwards(tmp_path):
    names = [f"model.layers.0.block_sparse_moe.experts.{i}.{w}.weight" for i in range(2) for w in ("w1", "w2", "w3")]
    shapes = {"w1": (12, 8), "w2": (8, 12), "w3": (12, 8)}
    generator = torch.Generator().manual_seed(1)
    experts = {name: torch.randn(shapes[name.split(".")[-2]], generator=generator) for name in names}
    held, worth = quantized(mixtral_tensors() | experts)
    folder = write_folder(tmp_path / "q", MIXTRAL | quantization(), held)
    with open_checkpoint(folder) as found, open_checkpoint(write_folder(tmp_path / "w", MIXTRAL, worth)) as expected:
        assert set(found.tensors) == set(expected.tensors)
        for name in ("blk.0.ffn_down_exps.weight", "blk.0.attn_q.weight"):
            assert found.tensors[name].format.name == "BF16"
            assert bytes(found.raw(name)) == bytes(expected.raw(name))


def test_scales_that_do_not_fit_or_are_of_no_use_are_refused(tmp_path):
    held, _ = quantized(llama_tensors())
    name = "model.layers.0.mlp.up_proj.weight_scale_inv"
    with pytest.raises(InvalidFile, match=r"up_proj\.weight_scale_inv.*shape \(2, 2\) is not \(4, 2\)"):
        open_checkpoint(write_folder(tmp_path / "m", LLAMA | quantization(), held | {name: torch.ones(2, 2)}))
    with pytest.raises(UnsupportedModel, match=r"_proj\.weight_scale_inv.* has no place"):
        open_checkpoint(write_folder(tmp_path / "m", LLAMA, held))
    config = LLAMA | {"quantization_config": {"quant_method": "fp8", "weight_block_size": [0, 128]}}
    with pytest.raises(InvalidFile, match="weight_block_size"):
        open_checkpoint(write_folder(tmp_path / "m", config, held))
