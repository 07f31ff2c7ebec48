"""``quantize``: where it reads and writes, what it says, and what it refuses."""

import json
import os
import pty
import subprocess
import sys

import pytest
import torch
from support import hf_folder
from support.model_folder import layer, write_manifest
from support.tiny_model import write_tiny_model

from gristmill.kernels import FORMATS
from gristmill.runtime.checkpoint import read_gguf_header
from gristmill.runtime.checkpoint.gguf_writer import TensorPlan, write_gguf
from gristmill.runtime.quantize.imatrix import Importance, ImportanceMatrix, write_imatrix


@pytest.fixture
def model(tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return write_tiny_model(work / "tiny.gguf", quantize=False)


def write_wide_model(path):
    """One matrix, whose rows are whole blocks of 256."""
    plan = TensorPlan("blk.0.attn_q.weight", FORMATS["F32"], (4, 256))
    with open(path, "wb") as file:
        write_gguf(file, {"general.architecture": "llama"}, [plan], lambda _: [torch.ones(4, 256).numpy().data])


def formats(path):
    return {name: info.format.name for name, info in read_gguf_header(path).tensors.items()}


def test_a_file_is_written_and_a_table_says_what_became_of_each_tensor(gristmill, model):
    status, out, err = gristmill("quantize", "tiny.gguf", "small.gguf", "q8_0")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["TENSOR", "SHAPE", "FROM", "TO", "BITS", "SIZE"]
    rows = {line.split()[0]: line for line in lines[1:-2]}
    found = formats("small.gguf")
    assert rows.keys() == found.keys()
    for name, row in rows.items():
        assert f" {found[name]} " in row
    cells = rows["blk.0.ffn_up.weight"].split()[1:]
    assert cells == ["96", "x", "64", "F32", "Q8_0", "8.5", "6.5", "KB"]
    size = os.path.getsize("small.gguf")
    assert f"; {size // 1000} KB written in " in lines[-1]
    assert " weights: " in lines[-1]
    assert sorted(os.listdir()) == ["small.gguf", "tiny.gguf"]


def test_json_is_one_line_for_programs(gristmill, model):
    status, out, _ = gristmill("quantize", "tiny.gguf", "small.gguf", "Q4_0", "--json")
    report = json.loads(out)
    assert (status, out.count("\n"), report["type"]) == (0, 1, "Q4_0")
    assert report["file_bytes"] == os.path.getsize("small.gguf")
    assert {row["name"]: row["to"] for row in report["tensors"]} == formats("small.gguf")
    row = next(row for row in report["tensors"] if row["name"] == "token_embd.weight")
    assert (row["shape"][1], row["from"]) == (64, "F32")
    assert report["bits_per_weight"] == report["bytes"] * 8 / report["n_weights"]


def test_a_dry_run_writes_nothing(gristmill, model):
    model.with_name("small.gguf").write_text("mine")
    status, out, _ = gristmill("quantize", "tiny.gguf", "small.gguf", "Q8_0", "--dry-run")
    assert (status, model.with_name("small.gguf").read_text()) == (0, "mine")
    assert out.endswith("; nothing written\n")
    _, out, _ = gristmill("quantize", "tiny.gguf", "new.gguf", "F16", "--dry-run", "--json")
    assert json.loads(out)["file_bytes"] is None
    assert not model.with_name("new.gguf").exists()


def test_a_file_that_is_there_stays_unless_forced(gristmill, model):
    there = model.with_name("small.gguf")
    there.write_text("mine")
    status, out, err = gristmill("quantize", "tiny.gguf", "small.gguf", "Q8_0")
    assert (status, out, err) == (1, "", 'Error: "small.gguf" is there already, --force replaces it\n')
    assert there.read_text() == "mine"
    assert gristmill("quantize", "tiny.gguf", "small.gguf", "Q8_0", "--force")[0] == 0
    assert formats(there)["blk.0.ffn_up.weight"] == "Q8_0"


def test_a_file_can_replace_itself(gristmill, model):
    assert gristmill("quantize", "tiny.gguf", "tiny.gguf", "F16", "--force")[0] == 0
    assert formats("tiny.gguf")["blk.0.ffn_up.weight"] == "F16"


def test_flags_choose_formats(gristmill, model):
    flags = ("--tensor-type", "ffn_down=q8_0", "--tensor-type", r"blk\.1\.=Q5_1", "--token-embedding-type", "f16")
    assert gristmill("quantize", "tiny.gguf", "small.gguf", "Q4_0", *flags)[0] == 0
    found = formats("small.gguf")
    assert found["token_embd.weight"] == "F16"
    assert found["blk.1.ffn_down.weight"] == "Q8_0"
    assert found["blk.1.ffn_up.weight"] == "Q5_1"
    assert found["blk.0.ffn_up.weight"] == "Q4_0"
    assert gristmill("quantize", "tiny.gguf", "pure.gguf", "Q4_0", "--pure")[0] == 0
    assert set(formats("pure.gguf").values()) == {"F32", "Q4_0"}
    assert gristmill("quantize", "tiny.gguf", "out.gguf", "Q8_0", "--output-tensor-type", "BF16")[0] == 0
    assert "BF16" in formats("out.gguf").values()


def test_a_folder_of_safetensors_is_read(gristmill, model, tmp_path):
    hf_folder.write_folder(tmp_path / "hf", tensors=hf_folder.llama_tensors())
    assert gristmill("quantize", str(tmp_path / "hf"), "small.gguf", "BF16")[0] == 0
    assert formats("small.gguf")["blk.0.ffn_up.weight"] == "BF16"
    assert gristmill("quantize", str(tmp_path / "hf"), "copy.gguf", "COPY")[0] == 0
    assert set(formats("copy.gguf").values()) == {"F32"}


def test_a_model_of_the_store_is_found_by_its_name(gristmill, model, tmp_path):
    models = tmp_path / "models"
    config = {"model_format": "gguf", "model_family": "llama"}
    write_manifest(models, "mine/latest", [layer(models, "model", model.read_bytes())], config)
    assert gristmill("quantize", "mine", "small.gguf", "Q8_0")[0] == 0
    assert formats("small.gguf")["blk.0.ffn_up.weight"] == "Q8_0"


def test_an_importance_matrix_leaves_its_name_in_the_file(gristmill, model, tmp_path):
    with open(tmp_path / "wiki.imatrix", "wb") as file:
        entries = {"blk.0.ffn_up.weight": Importance(torch.ones(1, 64), torch.ones(1))}
        write_imatrix(file, ImportanceMatrix(entries, ("texts/wiki.txt",), 3, 512))
    assert gristmill("quantize", "tiny.gguf", "small.gguf", "F16", "--imatrix", str(tmp_path / "wiki.imatrix"))[0] == 0
    metadata = read_gguf_header("small.gguf").metadata
    assert {key: metadata[key] for key in metadata if key.startswith("quantize.")} == {
        "quantize.imatrix.file": "wiki.imatrix",
        "quantize.imatrix.dataset": "wiki.txt",
        "quantize.imatrix.entries_count": 1,
        "quantize.imatrix.chunks_count": 3,
    }


def test_what_costs_quality_is_said(gristmill, model):
    assert gristmill("quantize", "tiny.gguf", "q8.gguf", "Q8_0")[0] == 0
    status, _, err = gristmill("quantize", "q8.gguf", "small.gguf", "Q4_0")
    assert status == 0
    assert err.startswith("warning: ")
    assert ", ...) lose twice: they are quantized already; quantize from F16 or F32 weights\n" in err
    assert gristmill("quantize", "q8.gguf", "wide.gguf", "F16")[2] == ""
    _, out, err = gristmill("quantize", "tiny.gguf", "mixed.gguf", "Q2_K", "--dry-run")
    assert "get another format, because their rows are not whole blocks" in err
    assert "Q4_0*" in out


def test_a_dry_run_says_that_an_importance_matrix_will_be_needed(gristmill, model):
    flags = ("--tensor-type", "ffn_up=IQ4_NL", "--dry-run")
    assert "importance" not in gristmill("quantize", "tiny.gguf", "x.gguf", "IQ2_XXS", *flags)[2]
    write_wide_model(model.with_name("wide.gguf"))
    status, _, err = gristmill("quantize", "wide.gguf", "x.gguf", "IQ2_XXS", "--dry-run")
    assert status == 0
    assert "will need an importance matrix for 1 tensor (blk.0.attn_q.weight); give --imatrix FILE" in err
    status, out, err = gristmill("quantize", "wide.gguf", "x.gguf", "IQ2_XXS")
    assert (status, out) == (1, "")
    assert "IQ2_XXS needs an importance matrix, give one with --imatrix FILE" in err
    assert err.endswith("(gristmill imatrix makes one)\n")
    assert sorted(os.listdir()) == ["tiny.gguf", "wide.gguf"]


TO_Q8_0 = ("tiny.gguf", "x.gguf", "Q8_0")
REFUSED = [
    (("no.gguf", "x.gguf", "Q8_0"), "model "),
    (("./no.gguf", "x.gguf", "Q8_0"), '"./no.gguf" does not exist'),
    (("tiny.gguf", ".", "Q8_0"), '"." is a folder, give the name of a file in it'),
    (("tiny.gguf", "no/x.gguf", "Q8_0"), '"no" is not a folder'),
    (("tiny.gguf", "x.gguf", "Q9"), 'quantization type "Q9" is unknown; the types are F32, F16'),
    ((*TO_Q8_0, "--imatrix", "tiny.gguf"), 'importance matrix: key "general.type": is not imatrix'),
    ((*TO_Q8_0, "--imatrix", "no"), '"no" cannot be read: No such file or directory'),
    ((*TO_Q8_0, "--tensor-type", "ffn"), 'invalid value for --tensor-type: "ffn" (must be REGEX=TYPE'),
    ((*TO_Q8_0, "--tensor-type", "=Q8_0"), 'invalid value for --tensor-type: "=Q8_0"'),
    ((*TO_Q8_0, "--tensor-type", "(=Q8_0"), 'invalid value for --tensor-type: "(": missing )'),
    ((*TO_Q8_0, "--tensor-type", "a=Q9"), 'weight format "Q9" is unknown'),
    (("tiny.gguf", "x.gguf"), "the following arguments are required: TYPE"),
]


@pytest.mark.parametrize(("argv", "reason"), REFUSED)
def test_what_is_refused_leaves_nothing(gristmill, model, argv, reason):
    status, out, err = gristmill("quantize", *argv)
    assert (status, out) == (1, "")
    assert err.startswith(f"Error: {reason}")
    assert err.count("\n") == 1
    assert os.listdir() == ["tiny.gguf"]


def test_a_failure_in_the_middle_leaves_nothing(gristmill, model, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gristmill.runtime.quantize.model._check", fail)
    status, _, err = gristmill("quantize", "tiny.gguf", "x.gguf", "Q8_0")
    assert (status, err) == (1, "Error: No space left on device\n")
    assert os.listdir() == ["tiny.gguf"]


def test_on_a_terminal_there_is_a_drawn_table_and_a_bar(model):
    main_end, other_end = pty.openpty()
    command = [sys.executable, "-m", "gristmill", "quantize", "tiny.gguf", "small.gguf", "Q8_0"]
    process = subprocess.Popen(command, stdin=other_end, stdout=other_end, stderr=other_end)
    os.close(other_end)
    shown = b""
    while True:
        try:
            part = os.read(main_end, 65_536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(main_end)
    assert process.wait() == 0
    text = shown.decode()
    assert "quantizing" in text
    assert "blk.0.ffn_up.weight" in text
    assert " written in " in text
