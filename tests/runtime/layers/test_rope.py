"""The frequencies of each rope scaling against the formulas, one frequency at a time."""

import math

import pytest
import torch

from gristmill.kernels import open_ops
from gristmill.runtime.config import RopeConfig
from gristmill.runtime.layers import Rope

DIM, BASE, ORIGINAL = 16, 10000.0, 128


def rope(factors=None, **options):
    config = RopeConfig(dim=DIM, base=BASE, interleaved=False, original_context=ORIGINAL, **options)
    return Rope(open_ops("reference"), config, factors)


def unscaled(i):
    return BASE ** (-2 * i / DIM)


def test_without_scaling_frequencies_fall_geometrically():
    assert rope().inv_freq.tolist() == pytest.approx([unscaled(i) for i in range(DIM // 2)])


def test_linear_scaling_divides_every_frequency():
    assert rope(scaling="linear", factor=4.0).inv_freq.tolist() == pytest.approx(
        [unscaled(i) / 4 for i in range(DIM // 2)]
    )


def test_factors_of_the_file_divide_their_own_frequency():
    factors = torch.arange(1.0, DIM // 2 + 1)
    assert rope(factors).inv_freq.tolist() == pytest.approx([unscaled(i) / (i + 1) for i in range(DIM // 2)])


def test_yarn_keeps_fast_frequencies_scales_slow_ones_and_blends_between():
    scaled = rope(scaling="yarn", factor=8.0)

    def dimension(turns):
        return DIM * math.log(ORIGINAL / (turns * 2 * math.pi)) / (2 * math.log(BASE))

    low, high = max(0, math.floor(dimension(32.0))), min(DIM - 1, math.ceil(dimension(1.0)))
    expected = []
    for i in range(DIM // 2):
        kept = 1 - min(1.0, max(0.0, (i - low) / max(0.001, high - low)))
        expected.append(unscaled(i) * kept + unscaled(i) / 8 * (1 - kept))
    assert scaled.inv_freq.tolist() == pytest.approx(expected)
    assert expected[0] == unscaled(0)
    assert expected[-1] == unscaled(DIM // 2 - 1) / 8
    assert scaled.magnitude == pytest.approx(1 + 0.1 * math.log(8.0))
