"""``create``: which files are uploaded, in which order things are asked for, and what is said."""

import hashlib

import pytest


def digest(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


GGUF = b"GGUF" + bytes(3_000_000)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    (work / "weights.gguf").write_bytes(GGUF)
    return work


def test_a_file_is_looked_for_uploaded_and_made_a_model(gristmill, server, folder):
    (folder / "Modelfile").write_text("FROM ./weights.gguf\nSYSTEM Be brief.\nPARAMETER stop </s>\n")
    assert gristmill("create", "mine") == (
        0,
        "",
        "gathering model components\n"
        "reading weights.gguf\n"
        f"copying file {digest(GGUF)[:19]}\n"
        "parsing GGUF\nwriting manifest\nsuccess\n",
    )
    blob = f"/api/blobs/{digest(GGUF)}"
    assert server.paths() == [f"HEAD {blob}", f"POST {blob}", "POST /api/create"]
    assert server.blobs == {digest(GGUF): GGUF}
    assert server.bodies("/api/create") == [
        {
            "model": "mine",
            "files": {"weights.gguf": digest(GGUF)},
            "system": "Be brief.",
            "parameters": {"stop": ["</s>"]},
        }
    ]


def test_what_the_server_has_is_not_sent_again(gristmill, server, folder):
    server.blobs[digest(GGUF)] = GGUF
    (folder / "Modelfile").write_text("FROM ./weights.gguf\n")
    assert gristmill("create", "mine")[0] == 0
    assert server.paths() == [f"HEAD /api/blobs/{digest(GGUF)}", "POST /api/create"]


def test_from_a_model_needs_no_file(gristmill, server, folder):
    (folder / "M").write_text('FROM smollm2\nTEMPLATE """{{ .Prompt }}"""\nMESSAGE user hi\nLICENSE free\n')
    assert gristmill("create", "mine", "-f", "M")[0] == 0
    assert server.bodies("/api/create") == [
        {
            "model": "mine",
            "from": "smollm2",
            "template": "{{ .Prompt }}",
            "license": ["free"],
            "messages": [{"role": "user", "content": "hi"}],
        }
    ]


def test_quantizations_are_the_servers_business(gristmill, server, folder):
    (folder / "Modelfile").write_text("FROM ./weights.gguf\nDRAFT ./draft.gguf\n")
    (folder / "draft.gguf").write_bytes(b"GGUF")
    assert gristmill("create", "mine", "-q", "q4_K_M", "--draft-quantize", "q8_0")[0] == 0
    body = server.bodies("/api/create")[0]
    assert (body["quantize"], body["draft_quantize"]) == ("q4_K_M", "q8_0")


def test_a_draft_is_quantized_only_where_there_is_one(gristmill, server, folder):
    (folder / "Modelfile").write_text("FROM ./weights.gguf\n")
    text = "Error: --draft-quantize requires a DRAFT model\n"
    assert gristmill("create", "mine", "--draft-quantize", "q8_0") == (1, "", text)
    assert server.requests == []


def test_paths_start_at_the_modelfile(gristmill, server, folder, tmp_path, monkeypatch):
    (folder / "Modelfile").write_text("FROM weights.gguf\n")
    monkeypatch.chdir(tmp_path)
    assert gristmill("create", "mine", "--file", "work/Modelfile")[0] == 0
    assert server.bodies("/api/create")[0]["files"] == {"weights.gguf": digest(GGUF)}


def test_without_a_modelfile_the_folder_is_the_model(gristmill, server, folder):
    assert gristmill("create", "mine")[0] == 0
    assert server.bodies("/api/create")[0]["files"] == {"weights.gguf": digest(GGUF)}


def test_a_safetensors_folder_brings_its_companions(gristmill, server, folder):
    (folder / "model").mkdir()
    for name in ("model-1.safetensors", "config.json", "tokenizer.json", "notes.txt", "pytorch_model.bin"):
        (folder / "model" / name).write_text(name)
    (folder / "Modelfile").write_text("FROM model\n")
    assert gristmill("create", "mine")[0] == 0
    assert sorted(server.bodies("/api/create")[0]["files"]) == [
        "config.json",
        "model-1.safetensors",
        "tokenizer.json",
    ]


def test_a_link_out_of_the_folder_is_refused(gristmill, server, folder, tmp_path):
    (tmp_path / "secret.json").write_text("{}")
    (folder / "model").mkdir()
    (folder / "model" / "model.safetensors").write_text("x")
    (folder / "model" / "config.json").symlink_to(tmp_path / "secret.json")
    (folder / "Modelfile").write_text("FROM ./model\n")
    status, _, err = gristmill("create", "mine")
    assert status == 1
    assert 'Error: insecure path: "config.json" leads out of its folder' in err
    assert server.requests == []


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("SYSTEM x\n", "no FROM line"),
        ("FROM ./none.gguf\n", '"none.gguf" does not exist'),
        ("FROM ./weights.gguf\nPARAMETER wibble 1\n", "unknown parameter 'wibble'"),
        ("FROM ./empty\n", 'no Modelfile or safetensors files found in "empty"'),
        (
            "FROM ./weights.gguf\nDRAFT ./weights.gguf\n",
            'DRAFT must not reference the same local path as FROM: "./weights.gguf"',
        ),
    ],
)
def test_a_bad_modelfile_is_one_line(gristmill, server, folder, text, error):
    (folder / "empty").mkdir()
    (folder / "Modelfile").write_text(text)
    status, out, err = gristmill("create", "mine")
    assert (status, out) == (1, "")
    assert err.splitlines()[-1].endswith(error)
    assert err.splitlines()[-1].startswith("Error: ")
    assert server.models.keys() == {"smollm2:latest"}


def test_a_model_in_the_place_of_a_modelfile_is_not_read(gristmill, server, folder):
    with (folder / "big.gguf").open("wb") as file:
        file.truncate(20 << 20)
    status, _, err = gristmill("create", "mine", "-f", "big.gguf")
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith('Error: "big.gguf" is too large for a Modelfile')


def test_two_files_of_one_name_are_refused(gristmill, server, folder):
    (folder / "other").mkdir()
    (folder / "other" / "weights.gguf").write_bytes(b"GGUF2")
    (folder / "Modelfile").write_text("FROM ./weights.gguf\nFROM ./other/weights.gguf\n")
    text = 'Error: two different files are named "weights.gguf": rename one of them\n'
    assert gristmill("create", "mine")[2].endswith(text)


def test_a_missing_modelfile_is_named(gristmill, server, folder):
    text = 'Error: cannot read the Modelfile "none": No such file or directory\n'
    assert gristmill("create", "mine", "-f", "none") == (1, "", text)


def test_retired_parameters_are_warned_about(gristmill, server, folder):
    (folder / "Modelfile").write_text("FROM smollm2\nPARAMETER mirostat 1\n")
    assert gristmill("create", "mine")[2].startswith("warning: parameter mirostat is deprecated\n")


def test_a_stream_without_success_is_an_error(gristmill, server, folder):
    server.statuses = ["parsing GGUF"]
    (folder / "Modelfile").write_text("FROM smollm2\n")
    status, _, err = gristmill("create", "mine")
    assert (status, err.splitlines()[-1]) == (
        1,
        "Error: the server did not say whether the model was created",
    )
