"""Opening the native kernels: levels, threads, and what is said where they are missing."""

import logging
import os
import sys

import pytest
import torch
from support.levels import LEVELS, open_level

from gristmill.kernels import open_ops
from gristmill.kernels.cpu import CpuContext, context
from gristmill.kernels.cpu.cores import _quota, physical_cores


def test_without_the_extension_the_reference_computes_and_the_reason_is_logged(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "gristmill.kernels.cpu._cpu", None)  # what an import that fails looks like
    context._load.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert open_ops("auto").name.startswith("reference")
    assert "install a C++17 compiler" in caplog.text
    with pytest.raises(ValueError, match="native CPU kernels are not built"):
        open_ops("cpu")


@pytest.mark.parametrize("level", LEVELS)
def test_the_environment_forces_a_level(monkeypatch, level):
    open_level(level)
    monkeypatch.setenv("GRISTMILL_CPU_LEVEL", level)
    assert open_ops("cpu", n_threads=1).name == f"cpu-{level}"


def test_a_level_that_does_not_exist_is_refused_with_those_that_do(monkeypatch):
    open_level(None)
    monkeypatch.setenv("GRISTMILL_CPU_LEVEL", "mmx")
    with pytest.raises(ValueError, match=r"GRISTMILL_CPU_LEVEL=mmx: this processor's levels are .*portable"):
        open_ops("auto")


def test_threads_are_the_cores_that_the_process_may_use(tmp_path):
    open_level(None)
    assert 1 <= physical_cores() <= len(os.sched_getaffinity(0))
    assert CpuContext().n_threads == physical_cores()
    assert CpuContext(3).n_threads == 3
    for text, expected in (("150000 100000", 2), ("max 100000", 1 << 16)):
        (tmp_path / "cpu.max").write_text(text)
        assert _quota(tmp_path) == expected
    assert _quota(tmp_path / "none") == 1 << 16


def test_explain_names_the_level_and_the_packed_forms():
    ops = open_level(None)
    from support.blocks import random_weight

    ops.linear(torch.ones(1, 32), ops.prepare("blk.0.attn_q.weight", random_weight("Q4_0", 4, 32)))
    text = ops.explain()
    assert f"backend cpu-{LEVELS[0]}" in text
    assert any(line.split()[-1] == "packed-q4_0" for line in text.splitlines() if line.startswith("blk.0"))
