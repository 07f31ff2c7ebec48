"""Importance matrices: both forms of file, and what encoders get from them."""

import io
import struct

import gguf
import numpy as np
import pytest
import torch

from gristmill.runtime.checkpoint.gguf_writer import write_gguf
from gristmill.runtime.errors import InvalidFile
from gristmill.runtime.quantize.imatrix import Importance, ImportanceMatrix, provenance, read_imatrix, write_imatrix

EXPERTS = Importance(torch.arange(12.0).reshape(3, 4), torch.tensor([2.0, 0.0, 4.0]))
DENSE = Importance(torch.tensor([[1.0, 4.0, 9.0]]), torch.tensor([10.0]))
MATRIX = ImportanceMatrix({"blk.0.ffn_down_exps.weight": EXPERTS, "a.weight": DENSE}, ("x/wiki.txt",), 7, 512)


def saved(tmp_path, content):
    path = tmp_path / "some.imatrix"
    path.write_bytes(content)
    return path


def gguf_bytes(matrix=MATRIX):
    file = io.BytesIO()
    assert write_imatrix(file, matrix) == len(file.getvalue())
    return file.getvalue()


def packed(entries, tail=b""):
    """llama.cpp's older form."""
    parts = [struct.pack("<i", len(entries))]
    for name, n_calls, values in entries:
        head = struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", n_calls, len(values))
        parts.append(head + struct.pack(f"<{len(values)}f", *values))
    return b"".join(parts) + tail


def test_what_is_written_is_read(tmp_path):
    matrix = read_imatrix(saved(tmp_path, gguf_bytes()))
    assert (matrix.datasets, matrix.n_chunks, matrix.chunk_size) == (("x/wiki.txt",), 7, 512)
    assert matrix.name == "some.imatrix"
    assert list(matrix.entries) == ["a.weight", "blk.0.ffn_down_exps.weight"]
    for name, entry in MATRIX.entries.items():
        assert torch.equal(matrix.entries[name].sums, entry.sums)
        assert torch.equal(matrix.entries[name].counts, entry.counts)


def test_the_file_is_laid_out_as_llama_cpp_lays_it_out(tmp_path):
    reader = gguf.GGUFReader(saved(tmp_path, gguf_bytes()))
    values = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    assert values == {
        "general.type": "imatrix",
        "imatrix.datasets": ["x/wiki.txt"],
        "imatrix.chunk_count": 7,
        "imatrix.chunk_size": 512,
    }
    assert [(t.name, t.shape.tolist()) for t in reader.tensors] == [
        ("a.weight.in_sum2", [3, 1]),
        ("a.weight.counts", [1, 1]),
        ("blk.0.ffn_down_exps.weight.in_sum2", [4, 3]),
        ("blk.0.ffn_down_exps.weight.counts", [1, 3]),
    ]
    assert np.array_equal(reader.tensors[0].data, [[1, 4, 9]])


def test_encoders_get_mean_squares_and_ones_for_an_expert_without_data():
    mean = MATRIX.of("blk.0.ffn_down_exps.weight", 3, 4)
    assert mean.tolist() == [[0, 0.5, 1, 1.5], [1, 1, 1, 1], [2, 2.25, 2.5, 2.75]]
    assert MATRIX.of("unknown", 1, 4) is None


def test_another_models_matrix_is_refused():
    with pytest.raises(InvalidFile, match=r'importance matrix: "a.weight": 3 values for a tensor of 1 x 4 inputs'):
        MATRIX.of("a.weight", 1, 4)


@pytest.mark.parametrize("tail", [b"", struct.pack("<ii", 5, 4) + b"text", struct.pack("<i", 5)])
def test_the_older_form_is_read(tmp_path, tail):
    entries = [("a.weight", 4, [1.0, 2.0, 3.0]), ("exps", 2, [2.0] * 6), ("never", 0, [3.0])]
    matrix = read_imatrix(saved(tmp_path, packed(entries, tail)))
    assert matrix.of("a.weight", 1, 3).tolist() == [[0.25, 0.5, 0.75]]
    assert matrix.of("exps", 2, 3).tolist() == [[1.0] * 3] * 2
    assert matrix.of("never", 1, 1).tolist() == [[3.0]]
    assert matrix.n_chunks == (5 if tail else 0)
    assert matrix.datasets == (("text",) if len(tail) > 4 else ())


def test_provenance_names_no_folder():
    assert provenance(ImportanceMatrix({"a": DENSE}, ("/home/me/wiki.txt",), 7, 512, "m.gguf")) == {
        "quantize.imatrix.file": "m.gguf",
        "quantize.imatrix.dataset": "wiki.txt",
        "quantize.imatrix.entries_count": 1,
        "quantize.imatrix.chunks_count": 7,
    }


def other_gguf():
    file = io.BytesIO()
    write_gguf(file, {"general.architecture": "llama"}, [], lambda plan: [])
    return file.getvalue()


def with_value(value):
    return gguf_bytes(ImportanceMatrix({"a": Importance(torch.tensor([[value]]), torch.ones(1))}))


REFUSED = [
    (b"", "count of entries: the file ends inside it"),
    (packed([]), "entries: there are none"),
    (struct.pack("<i", -1), "count of entries: -1 is not from 0"),
    (packed([("a", 1, [1.0])])[:-2], '"a": the file ends inside it'),
    (packed([("a", 1, [float("nan")])]), '"a": a value is negative, infinite or not a number'),
    (with_value(-1.0), '"a": a value is negative, infinite or not a number'),
    (with_value(float("inf")), '"a": a value is negative, infinite or not a number'),
    (other_gguf(), 'key "general.type": is not imatrix'),
    (gguf_bytes().replace(b"a.weight.counts", b"b.weight.counts"), '"a.weight": has sums, but no counts'),
]


@pytest.mark.parametrize(("content", "reason"), REFUSED)
def test_what_is_no_importance_matrix_is_refused(tmp_path, content, reason):
    with pytest.raises(InvalidFile, match=f"importance matrix: {reason}"):
        read_imatrix(saved(tmp_path, content))


@pytest.mark.parametrize("n_left", range(0, 60, 7))
def test_a_file_cut_off_anywhere_is_refused(tmp_path, n_left):
    content = packed([("a.weight", 4, [1.0, 2.0, 3.0]), ("b", 1, [1.0])])
    with pytest.raises(InvalidFile, match="the file ends inside it"):
        read_imatrix(saved(tmp_path, content[: min(n_left, len(content) - 1)]))
