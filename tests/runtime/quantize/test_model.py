"""Whole files: what comes out of a GGUF file or a folder of safetensors, and how much memory it takes."""

import io
import json
import math
import re
import subprocess
import sys

import gguf
import pytest
import torch
from support import hf_folder
from support.tiny_model import write_tiny_model

from gristmill.kernels.encoder import Encoder
from gristmill.kernels.formats import FORMATS, Format
from gristmill.runtime.checkpoint import open_checkpoint
from gristmill.runtime.checkpoint.gguf_writer import TensorPlan, write_gguf
from gristmill.runtime.errors import InvalidFile, InvalidRequest
from gristmill.runtime.quantize.choose import Wishes
from gristmill.runtime.quantize.file_types import FILE_TYPES, find_file_type
from gristmill.runtime.quantize.imatrix import Importance, ImportanceMatrix
from gristmill.runtime.quantize.model import plan_quantization, quantize_file

OVERWRITTEN = {"general.file_type", "general.quantization_version"}


def quantized(source, file_type, tmp_path, **options):
    """The file made of an open checkpoint, opened."""
    wishes = {"wishes": options.pop("wishes")} if "wishes" in options else {}
    plan = plan_quantization(source, find_file_type(file_type), imatrix=options.get("imatrix"), **wishes)
    path = tmp_path / "out.gguf"
    with open(path, "wb") as file:
        size = quantize_file(source, file, plan, **options)
    assert size == path.stat().st_size
    return open_checkpoint(path)


def written(path, tensors, metadata=None):
    """A GGUF file of float32 tensors."""
    plans = [TensorPlan(name, FORMATS["F32"], tuple(tensor.shape)) for name, tensor in tensors.items()]
    with open(path, "wb") as file:
        write_gguf(file, metadata or {"general.architecture": "llama"}, plans, lambda p: [tensors[p.name].numpy().data])
    return path


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def tiny(tmp_path):
    with open_checkpoint(write_tiny_model(tmp_path / "tiny.gguf", quantize=False)) as checkpoint:
        yield checkpoint


@pytest.mark.parametrize("file_type", [n for n, row in FILE_TYPES.items() if FORMATS[row.format].encode_blocks])
def test_every_tensor_is_what_its_encoder_makes_of_it(tiny, tmp_path, file_type):
    encode = Encoder(1)
    with quantized(tiny, file_type, tmp_path) as result:
        assert list(result.tensors) == list(tiny.tensors)
        for name, info in result.tensors.items():
            assert info.shape == tiny.tensors[name].shape
            rows = tiny.tensors[name].format.decode(tiny.tensor(name))
            assert torch.equal(result.tensor(name), encode(rows, info.format)), name


def test_metadata_is_kept_but_for_what_was_true_of_the_source_only(tiny, tmp_path):
    with quantized(tiny, "Q8_0", tmp_path) as result:
        assert result.metadata["general.file_type"] == 7
        assert result.metadata["general.quantization_version"] == 2
        kept = tiny.metadata.keys() - OVERWRITTEN
        assert {key: result.metadata[key] for key in kept} == {key: tiny.metadata[key] for key in kept}
        assert {key: result.scalar_types[key] for key in kept & tiny.scalar_types.keys()} == {
            key: tiny.scalar_types[key] for key in kept & tiny.scalar_types.keys()
        }
        assert result.metadata.keys() - tiny.metadata.keys() <= OVERWRITTEN


def test_keys_of_a_split_are_dropped(tmp_path):
    metadata = {"general.architecture": "llama", "split.count": 1, "split.no": 0, "split.tensors.count": 1}
    path = written(tmp_path / "m.gguf", {"blk.0.attn_q.weight": random(2, 32)}, metadata)
    with open_checkpoint(path) as source, quantized(source, "Q8_0", tmp_path) as result:
        assert not [key for key in result.metadata if key.startswith("split.")]


def test_the_oracle_reads_the_file(tiny, tmp_path):
    quantized(tiny, "Q4_0", tmp_path).close()
    reader = gguf.GGUFReader(tmp_path / "out.gguf")
    by_name = {tensor.name: tensor for tensor in reader.tensors}
    source = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / "tiny.gguf").tensors}
    name = "blk.0.ffn_up.weight"
    assert by_name[name].tensor_type == gguf.GGMLQuantizationType.Q4_0
    expected = gguf.quants.quantize(source[name].data, gguf.GGMLQuantizationType.Q4_0)
    assert by_name[name].data.tobytes() == expected.tobytes()


def test_importance_goes_to_the_expert_it_was_measured_on(tmp_path):
    seen = []

    def encode(x, importance):
        seen.append((x.clone(), importance.clone()))
        return torch.zeros(x.shape[0], 18, dtype=torch.uint8)

    spy = Format("SPY", 2, 32, 18, FORMATS["Q4_0"].decode_blocks, encode)
    weights = random(3, 2, 32)
    name = "blk.0.ffn_up_exps.weight"
    imatrix = ImportanceMatrix({name: Importance(random(3, 32).square(), torch.tensor([4.0, 0.0, 2.0]))}, name="i.gguf")
    path = written(tmp_path / "m.gguf", {name: weights, "blk.0.ffn_gate_exps.weight": random(3, 2, 32)})
    wishes = Wishes(((re.compile("ffn_up_exps"), spy), (re.compile("gate"), FORMATS["Q8_0"])))
    with open_checkpoint(path) as source, quantized(source, "Q4_0", tmp_path, imatrix=imatrix, wishes=wishes) as result:
        assert result.metadata["quantize.imatrix.file"] == "i.gguf"
    assert torch.equal(torch.cat([x for x, _ in seen]), weights.reshape(6, 32))
    expected = imatrix.of(name, 3, 32)
    assert torch.equal(torch.stack([rows[0] for _, rows in seen]), expected)
    assert all(torch.equal(rows, rows[:1].expand_as(rows)) for _, rows in seen)


def test_an_importance_matrix_of_another_model_is_refused_before_the_work(tmp_path):
    name = "blk.0.attn_q.weight"
    imatrix = ImportanceMatrix({name: Importance(torch.ones(1, 64), torch.ones(1))})
    path = written(tmp_path / "m.gguf", {name: random(2, 32)})
    reason = r'importance matrix: "blk.0.attn_q.weight": 64 values'
    with open_checkpoint(path) as source, pytest.raises(InvalidFile, match=reason):
        plan_quantization(source, find_file_type("Q8_0"), imatrix=imatrix)


def test_a_folder_of_safetensors_becomes_a_file_that_llama_cpp_reads(tmp_path):
    tensors = {name: tensor.to(torch.bfloat16) for name, tensor in hf_folder.llama_tensors().items()}
    folder = hf_folder.write_folder(tmp_path / "hf", tensors=tensors)
    with open_checkpoint(folder) as source, quantized(source, "F16", tmp_path) as result:
        for name, info in result.tensors.items():
            assert info.format.name == ("F32" if len(info.shape) == 1 else "F16")
            rows = source.tensors[name].format.decode(source.tensor(name))
            assert torch.equal(info.format.decode(result.tensor(name)), rows.to(torch.float16).to(torch.float32))


def test_without_a_file_type_weights_stay_as_they_are(tmp_path):
    tensors = {name: tensor.to(torch.bfloat16) for name, tensor in hf_folder.llama_tensors().items()}
    folder = hf_folder.write_folder(tmp_path / "hf", tensors=tensors)
    file = io.BytesIO()
    with open_checkpoint(folder) as source:
        plan = plan_quantization(source, None)
        quantize_file(source, file, plan)
        (tmp_path / "out.gguf").write_bytes(file.getvalue())
        with open_checkpoint(tmp_path / "out.gguf") as result:
            assert result.metadata.keys() == source.metadata.keys()
            assert result.metadata["general.file_type"] == source.metadata["general.file_type"]
            for name, info in result.tensors.items():
                rows = source.tensors[name].format.decode(source.tensor(name))
                assert torch.equal(info.format.decode(result.tensor(name)), rows)


def test_what_a_plan_says(tmp_path):
    source = written(tmp_path / "m.gguf", {"blk.0.attn_q.weight": random(4, 96), "blk.0.attn_norm.weight": random(96)})
    with open_checkpoint(source) as checkpoint, quantized(checkpoint, "Q8_0", tmp_path) as q8:
        plan = plan_quantization(q8, find_file_type("Q4_K_M"))
        assert plan.requantized() == plan.fallbacks() == ["blk.0.attn_q.weight"]
        assert plan.n_weights == 5 * 96
        assert plan.n_bytes_before == 4 * 96 // 32 * 34 + 4 * 96
        assert plan.n_bytes == 4 * 96 // 32 * 22 + 4 * 96  # Q5_0 takes the place of Q4_K
        assert plan_quantization(q8, find_file_type("Q8_0")).requantized() == []
        assert plan_quantization(checkpoint, find_file_type("Q4_0")).requantized() == []


def test_progress_counts_the_bytes_of_the_source(tiny, tmp_path):
    seen = []
    quantized(tiny, "Q8_0", tmp_path, on_progress=lambda tensor, done, total: seen.append((done, total))).close()
    total = sum(info.n_bytes for info in tiny.tensors.values())
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert {t for _, t in seen} == {total}
    assert seen[-1][0] == total


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_no_numbers_are_refused(tmp_path, value):
    weights = random(4, 32)
    weights[3, 31] = value
    path = written(tmp_path / "m.gguf", {"blk.0.attn_q.weight": weights})
    with open_checkpoint(path) as source, pytest.raises(InvalidFile, match=r'tensor "blk.0.attn_q.weight": holds'):
        quantized(source, "Q8_0", tmp_path)


def test_weights_beyond_float16_are_refused(tmp_path):
    path = written(tmp_path / "m.gguf", {"blk.0.attn_q.weight": random(4, 32) * 1e5})
    with open_checkpoint(path) as source:
        with pytest.raises(InvalidFile, match="beyond the range of F16; use BF16 or F32"):
            quantized(source, "F16", tmp_path)
        quantized(source, "BF16", tmp_path).close()


def test_a_format_without_encoder_is_refused_before_the_work(tmp_path):
    silent = Format("SILENT", 2, 32, 18, FORMATS["Q4_0"].decode_blocks)
    path = written(tmp_path / "m.gguf", {"blk.0.attn_q.weight": random(4, 32)})
    with open_checkpoint(path) as source, pytest.raises(InvalidRequest, match="weight format SILENT has no encoder"):
        plan_quantization(source, find_file_type("Q8_0"), wishes=Wishes(((re.compile("attn_q"), silent),)))


def tensors_of_a_layer():
    return {f"blk.0.{part}.weight": random(32, 256, seed=i) for i, part in enumerate(("attn_q", "attn_k", "ffn_up"))}


@pytest.mark.parametrize("file_type", ["IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "Q2_K_S"])
def test_what_needs_an_importance_matrix_is_refused_without_one(tmp_path, file_type):
    path, file = written(tmp_path / "m.gguf", tensors_of_a_layer()), io.BytesIO()
    with open_checkpoint(path) as source:
        plan = plan_quantization(source, find_file_type(file_type))
        reason = r'tensor "blk.0.attn_q.weight" and 2 more: \w+ needs an importance matrix, give one with --imatrix'
        with pytest.raises(InvalidRequest, match=reason):
            quantize_file(source, file, plan)
    assert not file.getvalue()


def test_an_importance_matrix_without_a_tensor_that_needs_it_is_refused(tmp_path):
    tensors = tensors_of_a_layer()
    entries = {name: Importance(random(1, 256).square(), torch.ones(1)) for name in list(tensors)[:2]}
    with open_checkpoint(written(tmp_path / "m.gguf", tensors)) as source:
        plan = plan_quantization(source, find_file_type("IQ2_XXS"), imatrix=ImportanceMatrix(entries))
        with pytest.raises(InvalidRequest, match=r'tensor "blk.0.ffn_up.weight": IQ2_XXS needs .* does not have'):
            quantize_file(source, io.BytesIO(), plan, imatrix=ImportanceMatrix(entries))


@pytest.mark.parametrize("file_type", [n for n in FILE_TYPES if n.startswith(("IQ", "TQ"))])
def test_with_an_importance_matrix_every_type_is_made(tmp_path, file_type):
    tensors = tensors_of_a_layer()
    imatrix = ImportanceMatrix({name: Importance(random(1, 256).square(), torch.ones(1)) for name in tensors})
    path = written(tmp_path / "m.gguf", tensors)
    with open_checkpoint(path) as source, quantized(source, file_type, tmp_path, imatrix=imatrix) as result:
        assert result.metadata["general.file_type"] == FILE_TYPES[file_type].number
        for name, info in result.tensors.items():
            back = info.format.decode(result.tensor(name))
            assert (back - tensors[name]).square().mean() < tensors[name].square().mean() * 0.75, info.format.name


MEASURE = """
import json, resource, sys
from gristmill.runtime.checkpoint import open_checkpoint
from gristmill.runtime.quantize.file_types import find_file_type
from gristmill.runtime.quantize.model import plan_quantization, quantize_file
with open_checkpoint(sys.argv[1]) as source, open(sys.argv[2], "wb") as file:
    quantize_file(source, file, plan_quantization(source, find_file_type("Q8_0")))
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
def test_memory_is_bounded_by_the_largest_tensor(tmp_path):
    """Ten tensors more, and the peak grows by less than two; the rest is the allocator's."""
    n_bytes = 24 << 20
    weights = torch.ones(n_bytes // 4 // 1024, 1024)

    def peak(n_tensors):
        path = written(tmp_path / "m.gguf", {f"blk.{i}.attn_q.weight": weights for i in range(n_tensors)})
        command = [sys.executable, "-c", MEASURE, str(path), str(tmp_path / "out.gguf")]
        return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)

    assert peak(12) - peak(2) < 2 * n_bytes
