"""What a start removes, and what it must not (rows F5 to F7, F11, F15, F16)."""

import fcntl
import logging
import os
import time

import pytest
from support.model_folder import LIBRARY, add_blob, sha256, write_ollama_folder

from gristmill.api.store import Store

OLD = 3700


@pytest.fixture
def store(tmp_path):
    return Store(write_ollama_folder(tmp_path))


def make(path, age=OLD, data=b"x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (time.time() - age,) * 2)
    return path


def blob(store, data, age=OLD):
    digest = add_blob(store.root, data)
    return make(store.root / "blobs" / digest.replace(":", "-"), age, data)


def test_old_things_that_nothing_needs_go(store, caplog):
    gone = [
        blob(store, b"unused"),
        make(store.blobs.path / ".tmp-1"),
        make(store.blobs.path / f"sha256-{'0' * 64}-partial"),
        make(store.blobs.path / f"sha256-{'0' * 64}-partial-3"),
        make(store.root / LIBRARY / "Llama3" / ".tmp-2"),
        make(store.root / "tmp" / ".tmp-3"),
    ]
    scratch = store.root / "tmp" / ".tmp-4"
    make(scratch / "wheel")
    os.utime(scratch, (0, 0))
    empty = store.root / LIBRARY / "empty"
    empty.mkdir()
    with caplog.at_level(logging.INFO):
        store.prune()
    assert not any(path.exists() for path in [*gone, scratch, empty])
    assert f"removed sha256-{sha256(b'unused')}, unused, 6 bytes" in caplog.text
    assert len(store.list()) == 2


def test_young_things_stay(store):
    kept = [
        blob(store, b"young", age=3500),
        blob(store, b"from the future", age=-9e5),
        make(store.blobs.path / ".tmp-1", age=3500),
        make(store.blobs.path / f"sha256-{'0' * 64}-partial", age=10),
        make(store.root / "tmp" / ".tmp-3", age=10),
    ]
    store.prune()
    assert all(path.exists() for path in kept)


def test_what_is_in_use_stays_however_old(store):
    used = list(store.blobs.path.iterdir())
    for path in used:
        os.utime(path, (0, 0))
    temporary = make(store.blobs.path / ".tmp-1")
    with open(temporary, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        store.prune()
        assert temporary.exists()
    assert all(path.exists() for path in used)
    store.prune()
    assert not temporary.exists()


def test_no_blob_goes_while_a_manifest_cannot_be_read(store):
    (store.root / LIBRARY / "Llama3" / "8B").write_bytes(b"{")
    kept = [blob(store, b"unused"), make(store.blobs.path / f"sha256-{'0' * 64}-partial")]
    ours = make(store.blobs.path / ".tmp-1")
    store.prune()
    assert all(path.exists() for path in kept)
    assert not ours.exists()


def test_no_blob_goes_while_another_process_makes_a_model(store):
    unused = blob(store, b"unused")
    with Store(store.root).lease():
        store.prune()
        assert unused.exists()
    store.prune()
    assert not unused.exists()


def test_noprune_keeps_blobs(store):
    unused = blob(store, b"unused")
    Store(store.root, keep_unused=True).prune()
    assert unused.exists()


def test_very_old_blob_names_are_made_new(store):
    digest = sha256(b"old")
    make(store.blobs.path / f"sha256:{digest}", age=10, data=b"old")
    store.prune()
    assert (store.blobs.path / f"sha256-{digest}").read_bytes() == b"old"


def test_links_are_left_alone(store, tmp_path):
    outside = make(tmp_path / "elsewhere" / "file")
    (store.blobs.path / f"sha256-{'1' * 64}").symlink_to(outside)
    (store.blobs.path / f"sha256:{'2' * 64}").symlink_to(outside)
    store.prune()
    assert outside.exists()


def test_an_entry_that_cannot_be_removed_does_not_stop_the_rest(store, monkeypatch, caplog):
    stuck, other = blob(store, b"stuck"), blob(store, b"other")
    unlink = os.unlink

    def refuse(path, *args, **kwargs):
        if os.fspath(path) == str(stuck):
            raise PermissionError(13, "Permission denied")
        return unlink(path, *args, **kwargs)

    monkeypatch.setattr(os, "unlink", refuse)
    store.prune()
    assert stuck.exists()
    assert not other.exists()
    assert "cannot be removed" in caplog.text


def test_prune_makes_the_folders_of_a_new_store(tmp_path):
    store = Store(tmp_path / "new" / "models")
    store.prune()
    assert sorted(path.name for path in store.root.iterdir() if path.is_dir()) == ["blobs", "manifests"]


def test_a_scratch_folder_goes_with_its_block(store):
    with store.scratch() as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "file").write_text("x")
        os.utime(folder, (0, 0))
        Store(store.root).prune()
        assert folder.exists(), "it is locked"
    assert not folder.exists()
