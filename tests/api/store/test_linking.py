"""A user's file as a blob: linked where it can be, never written to, and not taken if it changes."""

import errno
import os

import pytest
from support.model_folder import sha256

from gristmill.api.store import Store, StoreError, linking
from gristmill.api.store.digests import Digest
from gristmill.api.store.linking import is_unchanged, link_blob
from gristmill.api.store_id import store_id

DATA = b"GGUF" + bytes(100_000)
DIGEST = Digest(sha256(DATA))


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "mine.gguf"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def names(store):
    return [path.name for path in store.blobs.path.iterdir()]


def test_a_file_is_linked_or_copied_and_stays_as_it_is(store, source):
    before = source.stat()
    way = link_blob(store.blobs, source, DIGEST, before)
    assert way in ("reflink", "hard link", "copy")
    assert names(store) == [DIGEST.file_name]
    assert store.blob_path(DIGEST).read_bytes() == source.read_bytes() == DATA
    after = source.stat()
    assert (after.st_mtime_ns, after.st_mode, after.st_ino) == (before.st_mtime_ns, before.st_mode, before.st_ino)
    assert store.blobs.size(DIGEST) == len(DATA)


@pytest.mark.parametrize("refused", [0, 1, 2])
def test_every_way_gives_the_same_blob(store, source, monkeypatch, refused):
    def no(*args):
        raise OSError(errno.EOPNOTSUPP, "not supported")

    for name in ("_reflink", "_hard_link")[:refused]:
        monkeypatch.setattr(linking, name, no)
    way = link_blob(store.blobs, source, DIGEST, source.stat())
    assert store.blob_path(DIGEST).read_bytes() == DATA
    if refused == 2:
        assert way == "copy"
    if refused == 1:
        assert way == "hard link"
        assert os.path.samefile(store.blob_path(DIGEST), source)


def test_what_is_there_is_not_linked_again(store, source):
    link_blob(store.blobs, source, DIGEST, source.stat())
    assert link_blob(store.blobs, source, DIGEST, source.stat()) == "there"


def test_a_link_to_a_file_leads_to_the_file(store, source, tmp_path):
    link = tmp_path / "link.gguf"
    link.symlink_to(source)
    link_blob(store.blobs, link, DIGEST, link.stat())
    assert not store.blob_path(DIGEST).is_symlink()


def test_a_file_that_changed_since_it_was_read_is_not_taken(store, source):
    seen = source.stat()
    source.write_bytes(DATA + b"more")
    assert not is_unchanged(source, seen)
    with pytest.raises(StoreError):
        link_blob(store.blobs, source, DIGEST, seen)
    assert names(store) == []


def test_the_blob_outlives_the_file(store, source):
    link_blob(store.blobs, source, DIGEST, source.stat())
    source.unlink()
    assert store.blob_path(DIGEST).read_bytes() == DATA


def test_a_store_is_the_same_by_any_path_and_another_is_not(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert store_id(tmp_path / "a") == store_id(tmp_path / "link") != store_id(tmp_path / "b")
    assert store_id(tmp_path / "nothing") == ""
