"""The store check: a good store passes, and everything that can be wrong is named."""

import json
import os
import time

import pytest
from support.model_folder import add_blob, tiny_gguf, write_ollama_folder

from gristmill.api.cli import main
from gristmill.api.store import Store
from gristmill.api.store.verify import verify_store


@pytest.fixture
def store(tmp_path):
    return Store(write_ollama_folder(tmp_path))


def kinds(store, **options):
    return sorted((problem.kind, problem.models != ()) for problem in verify_store(store, **options))


def test_a_whole_store_has_no_problems(store):
    seen = []
    assert verify_store(store, on_progress=lambda done, total: seen.append((done, total))) == []
    assert seen[-1][0] == seen[-1][1] == sum(path.stat().st_size for path in store.blobs.path.iterdir())


def blob_of(store):
    model = store.list()[0]
    return store.blob_path(model.layers[0].digest), model.name.short


def test_a_blob_with_another_content_is_found_by_hashing_only(store):
    path, name = blob_of(store)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert kinds(store, fast=True) == []
    (problem,) = verify_store(store)
    assert (problem.kind, problem.name.replace(":", "-")) == ("blob", path.name)
    assert name in problem.models


@pytest.mark.parametrize("fast", [False, True])
def test_a_missing_and_a_short_blob_name_the_models(store, fast):
    path, name = blob_of(store)
    path.write_bytes(path.read_bytes()[:-1])
    assert any("bytes, not" in p.what and name in p.models for p in verify_store(store, fast=fast))
    path.unlink()
    assert any(p.what == "is missing" and name in p.models for p in verify_store(store, fast=fast))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\0" * 100])
def test_a_manifest_that_is_none_is_named(store, data):
    path = next(path for path in (store.root / "manifests").rglob("*") if path.is_file())
    path.write_bytes(data)
    assert [p.kind for p in verify_store(Store(store.root))] == ["manifest"]


def test_what_crashes_left_counts_when_it_is_old(store):
    for folder in (store.blobs.path, store.root / "tmp"):
        folder.mkdir(exist_ok=True)
        (folder / ".tmp-0123").write_bytes(b"x")
    assert verify_store(store) == []
    for folder in (store.blobs.path, store.root / "tmp"):
        os.utime(folder / ".tmp-0123", (time.time() - 7200,) * 2)
    assert [p.kind for p in verify_store(store)] == ["leftover", "leftover"]


def test_the_command_says_what_is_wrong_and_fails(store, monkeypatch, capsys):
    monkeypatch.setenv("OLLAMA_MODELS", str(store.root))
    assert main(["verify"]) == 0
    assert capsys.readouterr().out.endswith("models, nothing is wrong\n")
    path, name = blob_of(store)
    path.unlink()
    assert main(["verify", "--fast"]) == 1
    assert f"is missing (used by {name}" in capsys.readouterr().out
    assert main(["verify", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"][0]["kind"] == "blob"


def test_blobs_that_no_model_uses_are_no_problem(store):
    add_blob(store.root, tiny_gguf())
    assert verify_store(store) == []
