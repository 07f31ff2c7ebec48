"""Importance matrices in files: both forms, and what is none."""

import struct

import pytest
import torch

from gristmill.runtime.errors import InvalidFile
from gristmill.runtime.imatrix import Importance, read_importance, write_importance

SUMS = {"blk.0.attn_q.weight": torch.rand(1, 32) * 9, "blk.1.ffn_up_exps.weight": torch.rand(3, 64)}
COUNTS = {"blk.0.attn_q.weight": torch.tensor([7.0]), "blk.1.ffn_up_exps.weight": torch.tensor([2.0, 0.0, 5.0])}


def test_what_is_written_is_read(tmp_path):
    write_importance(tmp_path / "i.gguf", Importance(SUMS, COUNTS, ("a.txt", "b.txt"), 3, 512))
    found = read_importance(tmp_path / "i.gguf")
    assert found.datasets == ("a.txt", "b.txt")
    assert (found.n_chunks, found.chunk_size) == (3, 512)
    for name in SUMS:
        assert torch.equal(found.sums[name], SUMS[name])
        assert torch.equal(found.counts[name], COUNTS[name])


def test_means_of_columns_and_ones_for_experts_that_were_never_used():
    found = Importance(SUMS, COUNTS)
    assert found.of("nothing") is None
    torch.testing.assert_close(found.of("blk.0.attn_q.weight"), SUMS["blk.0.attn_q.weight"] / 7)
    assert torch.equal(found.of("blk.1.ffn_up_exps.weight")[1], torch.ones(64))


def old_form(n_values=4, values=(1.0, 2.0, 3.0, 4.0), tail=b""):
    name = b"blk.0.attn_q.weight"
    numbers = struct.pack(f"<{len(values)}f", *values)
    return struct.pack("<ii", 1, len(name)) + name + struct.pack("<ii", 2, n_values) + numbers + tail


def test_the_old_form(tmp_path):
    (tmp_path / "i.dat").write_bytes(old_form(tail=struct.pack("<ii", 11, 5) + b"x.txt"))
    found = read_importance(tmp_path / "i.dat")
    assert found.of("blk.0.attn_q.weight").tolist() == [[0.5, 1.0, 1.5, 2.0]]
    assert (found.n_chunks, found.datasets) == (11, ("x.txt",))


@pytest.mark.parametrize(
    "data",
    [b"", b"\1", old_form()[:-1], old_form(n_values=-1), old_form(n_values=2**30), old_form(values=(1, 2, 3, -4)),
     old_form(values=(1, 2, 3, float("nan"))), struct.pack("<i", 0)],
)  # fmt: skip
def test_what_is_no_importance_matrix_is_refused(tmp_path, data):
    (tmp_path / "i.dat").write_bytes(data)
    with pytest.raises(InvalidFile, match="importance"):
        read_importance(tmp_path / "i.dat")


def test_a_model_is_no_importance_matrix(tmp_path):
    from support.tiny_model import write_tiny_model

    with pytest.raises(InvalidFile, match="is not imatrix"):
        read_importance(write_tiny_model(tmp_path / "m.gguf"))
