"""Errors and histograms of a file's tensors."""

import math

import gguf
import numpy as np
import pytest
import torch

from gristmill.runtime.checkpoint import open_checkpoint
from gristmill.runtime.errors import InvalidRequest
from gristmill.runtime.measure import compare_tensors, histogram, tensor_rows
from gristmill.runtime.quantize.imatrix import Importance, ImportanceMatrix

RNG = np.random.default_rng(0)
X, EXPERTS = RNG.standard_normal((3, 64), np.float32), RNG.standard_normal((2, 3, 32), np.float32)


def write(path, tensors):
    writer = gguf.GGUFWriter(path, "llama")
    for name, (values, kind) in tensors.items():
        data = values if kind is None else gguf.quants.quantize(values, kind)
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return open_checkpoint(path)


@pytest.fixture
def pair(tmp_path):
    q8_0 = gguf.GGMLQuantizationType.Q8_0
    quantized = write(tmp_path / "q.gguf", {"a.weight": (X, q8_0), "e.weight": (EXPERTS, q8_0), "v": (X[0], None)})
    exact = {"a.weight": (X, None), "e.weight": (EXPERTS, None), "v": (X[1], None)}
    return quantized, write(tmp_path / "f.gguf", exact)


def test_sizes(pair):
    rows = {row.name: row for row in tensor_rows(pair[0])}
    assert (rows["a.weight"].format, rows["a.weight"].shape, rows["a.weight"].bits_per_weight) == ("Q8_0", (3, 64), 8.5)


def test_errors_are_those_of_the_formulas(pair):
    found = compare_tensors(*pair, "a.weight")
    y = pair[0].tensors["a.weight"].format.decode(pair[0].tensor("a.weight")).numpy().astype(np.float64)
    d = y - X
    assert found.rmse == pytest.approx(math.sqrt((d * d).mean()))
    assert found.relative == pytest.approx(math.sqrt((d * d).sum() / (X.astype(np.float64) ** 2).sum()))
    assert found.largest == pytest.approx(np.abs(d).max())
    assert found.cosine == pytest.approx((y * X).sum() / np.linalg.norm(y) / np.linalg.norm(X))
    assert math.isnan(found.weighted)


def test_errors_are_weighed_by_column_and_for_experts_by_expert(pair):
    name = "e.weight"
    weights = torch.rand(2, 32) + 0.1
    found = compare_tensors(*pair, name, ImportanceMatrix({name: Importance(weights, torch.ones(2))}))
    y = pair[0].tensors[name].format.decode(pair[0].tensor(name)).numpy().astype(np.float64)
    w = np.broadcast_to(weights.numpy()[:, None, :], y.shape)
    assert found.weighted == pytest.approx(math.sqrt(((y - EXPERTS) ** 2 * w).sum() / w.sum()))


def test_tensors_that_do_not_fit_are_refused(pair, tmp_path):
    other = write(tmp_path / "o.gguf", {"a.weight": (X[:2], None)})
    with pytest.raises(InvalidRequest, match="shape"):
        compare_tensors(pair[0], other, "a.weight")
    with pytest.raises(InvalidRequest, match="not in the reference"):
        compare_tensors(pair[0], other, "v")


@pytest.mark.parametrize("values", [X, np.zeros((1, 32), np.float32), np.full((1, 32), np.nan, np.float32)])
def test_histograms_count_every_finite_value(tmp_path, values):
    checkpoint = write(tmp_path / "h.gguf", {"h": (values, None)})
    edges, counts = histogram(checkpoint, "h")
    assert sum(counts) == np.isfinite(values).sum()
    assert len(edges) == len(counts) + 1
