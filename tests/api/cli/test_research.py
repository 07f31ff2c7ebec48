"""The research commands, from the command line to their tables and JSON."""

import json
import re
import types
from pathlib import Path

import pytest
from support.tiny_model import write_tiny_model

from gristmill.api.cli import main
from gristmill.kernels import FORMATS
from gristmill.kernels.formats.base import Format

TEXT = "The quick brown fox jumps over the lazy dog. " * 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("research")
    write_tiny_model(folder / "q8.gguf")
    write_tiny_model(folder / "f32.gguf", quantize=False)
    (folder / "text.txt").write_text(TEXT)
    return folder


@pytest.fixture
def run(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)

    def run(*argv, status=0):
        assert main([*argv]) == status
        return capsys.readouterr()

    return run


def test_perplexity(run):
    out = json.loads(run("perplexity", "./q8.gguf", "text.txt", "--ctx", "64", "--json").out)
    assert out["perplexity"] > 1
    assert out["tokens"] == out["windows"] * 31
    assert "nats per token" in run("perplexity", "./q8.gguf", "text.txt", "-c", "64", "--chunks", "1").out


def test_divergence_of_a_quantized_file_from_its_source(run):
    out = json.loads(run("divergence", "./q8.gguf", "./f32.gguf", "text.txt", "-c", "64", "--json").out)
    assert 0 < out["kl_mean"] < 0.1
    assert out["same_top"] > 0.8
    assert "same top" in run("divergence", "./q8.gguf", "./f32.gguf", "text.txt", "-c", "64").out


def test_an_importance_matrix_is_collected_and_weighs_errors(run, folder):
    assert "14 matrices" in run("imatrix", "./f32.gguf", "text.txt", "-c", "64", "-o", "i.gguf").out
    assert "--force" in run("imatrix", "./f32.gguf", "text.txt", "-c", "64", "-o", "i.gguf", status=1).err
    run("imatrix", "./f32.gguf", "text.txt", "-c", "64", "-o", "i.gguf", "--force")
    assert not list(folder.glob("*.part"))
    out = run("inspect", "./q8.gguf", "--reference", "./f32.gguf", "--imatrix", "i.gguf", "--json").out
    rows = {row["name"]: row for row in json.loads(out)["tensors"]}
    assert 0 < rows["blk.0.attn_q.weight"]["error"]["weighted"] < 0.1
    assert rows["blk.0.attn_norm.weight"]["error"]["rmse"] == 0


def test_inspect(run):
    out = run("inspect", "./q8.gguf", "--tensor", "attn_q", "--histogram").out
    assert "blk.1.attn_q.weight" in out
    assert "█" in out
    assert "8.500" in out
    assert "ffn" not in out


def test_formats_are_listed_and_measured(run):
    assert "IQ2_XXS" in run("formats").out
    out = json.loads(run("formats", "./f32.gguf", "text.txt", "-c", "64", "--formats", "q8_0,q4_0,f16", "--json").out)
    by_name = {row["name"]: row for row in out["formats"]}
    assert by_name["F16"]["kl_mean"] < by_name["Q8_0"]["kl_mean"] < by_name["Q4_0"]["kl_mean"]
    assert by_name["Q4_0"]["decode_tokens_per_s"] > 0


def test_the_format_on_the_page_works(run, monkeypatch):
    page = Path(__file__).parents[3] / "docs" / "quantization-research.md"
    code = re.search(r"```python\n(.*?)```", page.read_text(), re.S)[1]
    module = types.ModuleType("gristmill.kernels.formats.squares")
    module.__package__ = "gristmill.kernels.formats"
    exec(compile(code, "squares.py", "exec"), module.__dict__)
    row = module.ROWS[0]
    monkeypatch.setattr("gristmill.kernels.FORMATS", {**FORMATS, row.name: row})
    out = json.loads(run("formats", "./f32.gguf", "text.txt", "-c", "64", "--formats", "squares,q4_0", "--json").out)
    squares, q4_0 = out["formats"]
    assert squares["bits_per_weight"] == q4_0["bits_per_weight"] == 4.5
    assert 0 < squares["kl_mean"] < 4 * q4_0["kl_mean"]


def test_a_format_of_ones_own_is_measured_like_the_others(run, monkeypatch):
    half = FORMATS["F16"]
    mine = Format("MINE", None, 1, 2, half.decode_blocks, half.encode_blocks)
    monkeypatch.setattr("gristmill.kernels.FORMATS", {**FORMATS, "MINE": mine})
    out = json.loads(run("formats", "./f32.gguf", "text.txt", "-c", "64", "--formats", "mine", "--json").out)
    assert out["formats"][0]["kl_mean"] < 1e-4


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("perplexity", "nothing-here", "text.txt"), "not found"),
        (("perplexity", "./nothing.gguf", "text.txt"), "does not exist"),
        (("perplexity", "./q8.gguf", "nothing.txt"), "No such file"),
        (("perplexity", "./q8.gguf", "text.txt", "-c", "100000"), "ctx"),
        (("inspect", "./q8.gguf", "--tensor", "("), "regular expression"),
        (("inspect", "./q8.gguf", "--tensor", "zzz"), "no tensor"),
        (("formats", "./q8.gguf"), "TEXT"),
        (("formats", "--formats", "Q9_9"), "known:"),
        (("inspect", "text.txt"), "magic"),
    ],
)
def test_bad_input_is_one_line(run, argv, says, monkeypatch, tmp_path):
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path))
    err = run(*argv, status=1).err
    assert says in err
    assert err.count("\n") == 1
