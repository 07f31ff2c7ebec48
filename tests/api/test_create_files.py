"""Creating models from other files: folders of safetensors, split files, adapters."""

import json

import gguf
import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import save
from support.hf_folder import LLAMA, llama_tensors, write_folder
from support.model_folder import add_blob, problems, write_ollama_folder
from support.tiny_model import FFN, HIDDEN, write_tiny_model

from gristmill.api.create import create_model
from gristmill.api.schema import CreateRequest
from gristmill.api.store import MediaType, Store
from gristmill.runtime import open_model
from gristmill.runtime.checkpoint import open_checkpoint
from gristmill.runtime.errors import InvalidFile, InvalidRequest


@pytest.fixture
def store(tmp_path):
    return Store(write_ollama_folder(tmp_path / "store"))


async def create(store, **fields):
    request = msgspec.convert({"model": "new", **fields}, CreateRequest)
    return [line async for line in create_model(store, request)]


def statuses(lines):
    return [line["status"] for line in lines]


def upload(store, folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): add_blob(store.root, path.read_bytes()) for path in files}


def nothing_left(store):
    scratch = store.root / "tmp"
    return not scratch.exists() or not list(scratch.iterdir())


@pytest.mark.parametrize(("dtype", "kept"), [(torch.float32, "F16"), (torch.float16, "F16"), (torch.bfloat16, "BF16")])
async def test_safetensors_become_a_gguf_file_of_16_bit_floats(store, tmp_path, dtype, kept):
    tensors = {name: tensor.to(dtype) for name, tensor in llama_tensors().items()}
    folder = write_folder(tmp_path / "hf", LLAMA, tensors, n_shards=2)
    lines = statuses(await create(store, files=upload(store, folder)))
    model = store.find("new")
    assert lines == [
        "converting model", f"using existing layer {model.layers[0].digest}", "writing manifest", "success",
    ]  # fmt: skip
    assert (model.config.file_type, model.config.model_family) == (kept, "llama")
    with open_checkpoint(folder) as source, open_checkpoint(model.model_path) as made:
        for key, value in source.metadata.items():
            if key != "general.file_type":
                assert made.metadata[key] == (pytest.approx(value) if isinstance(value, float) else value), key
        assert made.tensors.keys() == source.tensors.keys()
        for name, info in source.tensors.items():
            form = made.tensors[name].format
            assert form.name == ("F32" if len(info.shape) == 1 else kept)
            exact = info.format.decode(source.tensor(name))
            assert torch.equal(form.decode(made.tensor(name)), form.decode(form.encode(exact)))
    assert problems(store.root) == []
    assert nothing_left(store)


async def test_what_is_converted_computes_what_its_source_does(store, tmp_path):
    folder = write_folder(tmp_path / "hf", LLAMA, {k: v.half().float() for k, v in llama_tensors().items()})
    await create(store, files=upload(store, folder))
    ids = [1, 5, 3, 2, 7]
    made = open_model(store.find("new").model_path, backend="reference").logits(ids)
    torch.testing.assert_close(made, open_model(folder, backend="reference").logits(ids))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: (f / "config.json").unlink(), "config.json"),
        (lambda f: (f / "config.json").write_text(json.dumps({**LLAMA, "architectures": ["Mystery"]})), "Mystery"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0notjson!"), "invalid safetensors"),
    ],
)
async def test_a_folder_that_cannot_be_converted_leaves_nothing(store, tmp_path, change, says):
    folder = write_folder(tmp_path / "hf")
    change(folder)
    files = upload(store, folder)
    blobs = set(store.blobs.path.iterdir())
    with pytest.raises(InvalidRequest, match=says) as caught:
        await create(store, files=files)
    assert str(tmp_path) not in str(caught.value)
    assert set(store.blobs.path.iterdir()) == blobs
    assert nothing_left(store)


def split_model(folder, n=3, **wrong):
    """The tiny model in ``n`` parts as llama.cpp splits them; ``wrong``: a key and what it says instead."""
    whole = write_tiny_model(folder / "whole.gguf")
    reader = gguf.GGUFReader(whole)
    paths = []
    for i in range(n):
        path = folder / f"part-{i + 1:05}-of-{n:05}.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        if i == 0:
            for name, field in reader.fields.items():
                if not name.startswith(("GGUF.", "general.architecture")):
                    kind = field.types[0]
                    sub = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
                    writer.add_key_value(name, field.contents(), kind, sub)
        writer.add_uint16("split.no", wrong.get("no", i) if i else i)
        writer.add_uint16("split.count", wrong.get("count", n))
        writer.add_int32("split.tensors.count", wrong.get("tensors", len(reader.tensors)))
        for tensor in reader.tensors[i::n] + (reader.tensors[:1] if i and wrong.get("twice") else []):
            writer.add_tensor(tensor.name, np.asarray(tensor.data), raw_dtype=tensor.tensor_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        paths.append(path)
    return whole, paths


def test_the_parts_of_a_split_file_are_read_as_one(tmp_path):
    whole, paths = split_model(tmp_path)
    for path in paths:
        with open_checkpoint(whole) as expected, open_checkpoint(path) as found:
            assert found.tensors.keys() == expected.tensors.keys()
            assert all(bytes(found.raw(name)) == bytes(expected.raw(name)) for name in expected.tensors)
            assert not any(key.startswith("split.") for key in found.metadata)
    ids = [1, 2, 3]
    assert torch.equal(open_model(paths[0]).logits(ids), open_model(whole).logits(ids))


async def test_the_parts_of_a_split_file_become_one_layer(store, tmp_path):
    whole, paths = split_model(tmp_path)
    files = {f"sub/{path.name}": add_blob(store.root, path.read_bytes()) for path in paths}
    assert statuses(await create(store, files=files))[:2] == ["parsing GGUF", "parsing GGUF"]
    with open_checkpoint(whole) as expected, open_checkpoint(store.find("new").model_path) as found:
        assert found.metadata == expected.metadata
        assert all(bytes(found.raw(name)) == bytes(expected.raw(name)) for name in expected.tensors)
    assert nothing_left(store)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"no": 0}, "its number is 0"),
        ({"count": 4}, "one of 4"),
        ({"tensors": 99}, "not 99"),
        ({"twice": True}, "two of"),
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path, wrong, says):
    _, paths = split_model(tmp_path, **wrong)
    with pytest.raises(InvalidFile, match=says):
        open_checkpoint(paths[0])


async def test_missing_parts_are_named(store, tmp_path):
    _, paths = split_model(tmp_path)
    digests = {path.name: add_blob(store.root, path.read_bytes()) for path in paths}
    paths[1].unlink()
    with pytest.raises(InvalidFile, match=r"1 of 3 are missing.*00002-of-00003"):
        open_checkpoint(paths[0])
    for absent in range(3):
        files = {name: digest for i, (name, digest) in enumerate(digests.items()) if i != absent}
        with pytest.raises(InvalidRequest, match="missing"):
            await create(store, files=files)


RANK = 3


def peft_folder(folder, *, config=None, **tensors):
    """A PEFT adapter for q and down of the tiny model's first layer."""
    shapes = {"self_attn.q_proj": (HIDDEN, HIDDEN), "mlp.down_proj": (HIDDEN, FFN)}
    generator = torch.Generator().manual_seed(1)
    found = {}
    for module, (n_out, n_in) in shapes.items():
        name = f"base_model.model.model.layers.0.{module}"
        found[f"{name}.lora_A.weight"] = torch.randn(RANK, n_in, generator=generator)
        found[f"{name}.lora_B.weight"] = torch.randn(n_out, RANK, generator=generator)
    found |= tensors
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(save(found))
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 6} | (config or {})
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return found


async def test_a_peft_adapter_becomes_a_layer(store, tmp_path):
    weights = add_blob(store.root, write_tiny_model(tmp_path / "tiny.gguf").read_bytes())
    tensors = peft_folder(tmp_path / "peft")
    lines = await create(store, files={"tiny.gguf": weights}, adapters=upload(store, tmp_path / "peft"))
    assert "converting adapter" in statuses(lines)
    model = store.find("new")
    (adapter,) = model.manifest.of_type(MediaType.ADAPTER)
    with open_checkpoint(store.blob_path(adapter.digest)) as found:
        assert found.metadata["adapter.lora.alpha"] == 6.0
        assert (found.metadata["general.type"], found.metadata["adapter.type"]) == ("adapter", "lora")
        down = "base_model.model.model.layers.0.mlp.down_proj"
        for side in "AB":
            made = found.tensor(f"blk.0.ffn_down.weight.lora_{side.lower()}").view(torch.float32)
            assert torch.equal(made, tensors[f"{down}.lora_{side}.weight"])
        q = found.tensor("blk.0.attn_q.weight.lora_b").view(torch.float32)
        hf = tensors["base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"]
        assert torch.equal(q[:4], hf[[0, 8, 1, 9]]), "pairs that turn together lie together"
    await create(store, model="plain", files={"tiny.gguf": weights})
    await create(store, model="both", **{"from": "plain"}, adapters=upload(store, tmp_path / "peft"))
    assert [layer.digest for layer in store.find("both").manifest.of_type(MediaType.ADAPTER)] == [adapter.digest]
    assert problems(store.root) == []


@pytest.mark.parametrize(
    ("config", "tensors", "says"),
    [
        ({"lora_alpha": "x"}, {}, "lora_alpha"),
        ({"lora_alpha": float("nan")}, {}, "lora_alpha"),
        ({"peft_type": "PREFIX_TUNING"}, {}, "only LoRA"),
        ({"use_dora": True}, {}, "use_dora"),
        ({}, {"base_model.model.model.layers.0.self_attn.q_proj.magnitude": torch.ones(1)}, "no part of a LoRA"),
        ({}, {"base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight": torch.ones(3, HIDDEN)}, "layers.9"),
        ({}, {"base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight": torch.ones(3, HIDDEN)}, "only one of"),
        ({}, {"base_model.model.model.layers.0.mlp.down_proj.lora_A.weight": torch.ones(3, HIDDEN)}, "does not match"),
        ({}, {"base_model.model.model.layers.0.mlp.down_proj.lora_A.weight": torch.ones(2, FFN)}, "does not match"),
    ],
)
async def test_an_adapter_that_cannot_be_used_is_refused(store, tmp_path, config, tensors, says):
    weights = add_blob(store.root, write_tiny_model(tmp_path / "tiny.gguf").read_bytes())
    peft_folder(tmp_path / "peft", config=config, **tensors)
    with pytest.raises(InvalidRequest, match=says):
        await create(store, files={"tiny.gguf": weights}, adapters=upload(store, tmp_path / "peft"))
    assert "new:latest" not in [model.name.short for model in store.list()]
    assert nothing_left(store)


def gguf_adapter(
    path, *, architecture="llama", a=(RANK, HIDDEN), b=(HIDDEN, RANK), name="blk.0.attn_q.weight", alpha=1.0
):
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    writer.add_tensor(f"{name}.lora_a", np.ones(a, np.float32))
    writer.add_tensor(f"{name}.lora_b", np.ones(b, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


async def test_a_gguf_adapter_is_taken_as_it_is(store, tmp_path):
    weights = add_blob(store.root, write_tiny_model(tmp_path / "tiny.gguf").read_bytes())
    adapter = add_blob(store.root, gguf_adapter(tmp_path / "a.gguf"))
    await create(store, files={"tiny.gguf": weights}, adapters={"a.gguf": adapter})
    assert [str(layer.digest) for layer in store.find("new").manifest.of_type(MediaType.ADAPTER)] == [adapter]
    with pytest.raises(InvalidRequest, match="only one adapter is currently supported"):
        await create(store, **{"from": "new"}, adapters={"a.gguf": adapter, "b.gguf": adapter})
    with pytest.raises(InvalidRequest, match="is not an adapter"):
        await create(store, **{"from": "new"}, adapters={"a.gguf": weights})


async def test_an_adapter_of_the_embeddings_has_its_a_the_other_way_round(store, tmp_path):
    weights = add_blob(store.root, write_tiny_model(tmp_path / "tiny.gguf").read_bytes())
    with open_checkpoint(tmp_path / "tiny.gguf") as checkpoint:
        n_vocab = checkpoint.tensors["token_embd.weight"].shape[0]
    for a, fits in (((n_vocab, RANK), True), ((RANK, n_vocab), False)):
        adapter = add_blob(store.root, gguf_adapter(tmp_path / "a.gguf", a=a, name="token_embd.weight"))
        if fits:
            await create(store, files={"tiny.gguf": weights}, adapters={"a.gguf": adapter})
        else:
            with pytest.raises(InvalidRequest, match="adapter does not match base model: "):
                await create(store, files={"tiny.gguf": weights}, adapters={"a.gguf": adapter})


@pytest.mark.parametrize(
    "wrong",
    [{"architecture": "qwen2"}, {"a": (RANK, FFN)}, {"b": (HIDDEN, RANK + 1)}, {"name": "blk.7.attn_q.weight"},
     {"alpha": float("nan")}],
)  # fmt: skip
async def test_a_gguf_adapter_of_another_model_is_refused(store, tmp_path, wrong):
    weights = add_blob(store.root, write_tiny_model(tmp_path / "tiny.gguf").read_bytes())
    adapter = add_blob(store.root, gguf_adapter(tmp_path / "a.gguf", **wrong))
    with pytest.raises(InvalidRequest, match="adapter does not match base model: "):
        await create(store, files={"tiny.gguf": weights}, adapters={"a.gguf": adapter})


@pytest.mark.parametrize("file_type", ["q8_0", "Q4_0", "f32"])
async def test_weights_are_quantized_while_a_model_is_made(store, tmp_path, file_type):
    weights = add_blob(store.root, write_tiny_model(tmp_path / "tiny.gguf", quantize=False).read_bytes())
    lines = await create(store, files={"tiny.gguf": weights}, quantize=file_type)
    model, name = store.find("new"), file_type.upper()
    assert model.config.file_type == name
    if name == "F32":
        assert str(model.layers[0].digest) == weights
        return
    told = [line for line in lines if line["status"] == f"quantizing F32 model to {name}"]
    assert told[-1] == {**told[-1], "digest": "0000000000000000000", "completed": told[-1]["total"]}
    assert statuses(lines)[-3:] == [f"using existing layer {model.layers[0].digest}", "writing manifest", "success"]
    assert "verifying conversion" in statuses(lines)
    with open_checkpoint(model.model_path) as checkpoint:
        assert checkpoint.tensors["blk.0.attn_q.weight"].format.name == name
        assert checkpoint.tensors["blk.0.attn_norm.weight"].format.name == "F32"
    assert nothing_left(store)
    await create(store, model="again", **{"from": "new"}, quantize=file_type)
    with pytest.raises(InvalidRequest, match="quantization is only supported for F16, BF16 and F32 models"):
        await create(store, model="again", **{"from": "new"}, quantize="Q5_0")


async def test_a_model_of_the_store_is_quantized_into_a_new_one(store, tmp_path):
    weights = add_blob(store.root, write_tiny_model(tmp_path / "tiny.gguf", quantize=False).read_bytes())
    await create(store, model="float", files={"tiny.gguf": weights}, system="Be brief.")
    await create(store, **{"from": "float"}, quantize="Q8_0", draft_files={"d.gguf": weights}, draft_quantize="Q4_0")
    model = store.find("new")
    assert (model.config.file_type, model.system) == ("Q8_0", "Be brief.")
    assert store.find("float").config.file_type == "F32"
    draft = model.manifest.of_type(MediaType.DRAFT)[0].digest
    assert store.facts(draft).quantization_level == "Q4_0"
    with pytest.raises(InvalidRequest, match="requires an unquantized draft model, got Q4_0"):
        await create(store, **{"from": "float"}, draft_files={"d.gguf": str(draft)}, draft_quantize="Q8_0")
