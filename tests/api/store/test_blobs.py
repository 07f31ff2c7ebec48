"""Blobs are published whole or not at all."""

import contextlib
import errno
import os
import stat
import threading

import pytest
from support.model_folder import problems, sha256

from gristmill.api.store import Digest, Store, StoreError
from gristmill.api.store.blobs import BlobFolder
from gristmill.runtime.errors import InvalidRequest

DATA = bytes(range(256)) * 40
DIGEST = Digest(sha256(DATA))
OTHER = Digest("0" * 64)


@pytest.fixture
def blobs(tmp_path):
    return BlobFolder(tmp_path / "blobs")


def names(blobs):
    return sorted(path.name for path in blobs.path.glob("*"))


def test_a_blob_appears_with_its_commit(blobs):
    with blobs.writer() as writer:
        writer.write(DATA[:5000])
        writer.write(memoryview(DATA)[5000:])
        assert blobs.size(DIGEST) is None
        assert writer.commit(DIGEST, size=len(DATA)) == DIGEST
    assert names(blobs) == [DIGEST.file_name]
    assert blobs.file(DIGEST).read_bytes() == DATA
    assert stat.S_IMODE(blobs.file(DIGEST).stat().st_mode) == 0o644
    assert stat.S_IMODE(blobs.path.stat().st_mode) == 0o755


def test_modes_do_not_depend_on_the_umask(blobs):
    before = os.umask(0o077)
    try:
        blobs.add(DATA)
    finally:
        os.umask(before)
    assert stat.S_IMODE(blobs.file(DIGEST).stat().st_mode) == 0o644
    assert stat.S_IMODE(blobs.path.stat().st_mode) == 0o755


def test_other_content_than_announced_leaves_no_file(blobs):
    with blobs.writer() as writer:
        writer.write(DATA)
        with pytest.raises(InvalidRequest) as caught:
            writer.commit(OTHER)
    assert str(caught.value) == f'digest mismatch, expected "{OTHER}", got "{DIGEST}"'
    assert names(blobs) == []


def test_another_size_than_announced_leaves_no_file(blobs):
    with blobs.writer() as writer:
        writer.write(DATA)
        with pytest.raises(InvalidRequest, match="size mismatch, expected 5 bytes, got 10240"):
            writer.commit(DIGEST, size=5)
    assert names(blobs) == []


def test_an_upload_that_is_cut_off_leaves_no_file(blobs):
    with contextlib.suppress(ConnectionError), blobs.writer() as writer:
        writer.write(DATA)
        raise ConnectionError
    writer.abort()
    assert names(blobs) == []


def test_a_blob_that_is_there_is_not_written_again(blobs):
    assert blobs.add(DATA) == (DIGEST, True)
    inode = blobs.file(DIGEST).stat().st_ino
    os.utime(blobs.file(DIGEST), (0, 0))
    assert blobs.add(DATA) == (DIGEST, False)
    assert blobs.file(DIGEST).stat().st_ino == inode
    assert blobs.file(DIGEST).stat().st_mtime > 1e9, "it is young again"


def test_a_truncated_blob_is_repaired_by_adding_it(blobs):
    blobs.add(DATA)
    blobs.file(DIGEST).write_bytes(b"")
    assert blobs.size(DIGEST) is None
    assert blobs.add(DATA) == (DIGEST, True)
    assert blobs.file(DIGEST).read_bytes() == DATA


def test_the_empty_blob_is_a_blob(blobs):
    digest, is_new = blobs.add(b"")
    assert (is_new, blobs.size(digest)) == (True, 0)


def test_a_local_file_comes_in_only_if_its_digest_is_right(blobs, tmp_path):
    source = tmp_path / "file.gguf"
    source.write_bytes(DATA)
    with pytest.raises(InvalidRequest, match="digest mismatch"):
        blobs.add_file(source, OTHER)
    assert names(blobs) == []
    assert blobs.add_file(source, DIGEST)
    assert not blobs.add_file(source, DIGEST)
    source.write_bytes(b"changed")
    assert blobs.file(DIGEST).read_bytes() == DATA, "the store has its own copy"


def test_links_in_the_folder_are_not_followed_for_writing(blobs, tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    blobs.path.mkdir()
    blobs.file(DIGEST).symlink_to(victim)
    assert blobs.add(DATA) == (DIGEST, True)
    assert victim.read_bytes() == b"precious"
    assert not blobs.file(DIGEST).is_symlink()
    blobs.file(OTHER).symlink_to(victim)
    blobs.touch(OTHER)
    blobs.remove(OTHER)
    assert victim.exists()


def test_what_is_no_regular_file_is_no_blob(blobs):
    blobs.path.mkdir()
    os.mkfifo(blobs.file(DIGEST))
    blobs.file(OTHER).mkdir()
    assert blobs.size(DIGEST) is None
    assert blobs.size(OTHER) is None
    with pytest.raises(OSError, match="not a regular file"):
        blobs.read(DIGEST, 100)


def test_reading_checks_content_and_size(blobs):
    blobs.add(DATA)
    assert blobs.read(DIGEST, len(DATA)) == DATA
    with pytest.raises(OSError, match="over the limit"):
        blobs.read(DIGEST, len(DATA) - 1)
    blobs.file(DIGEST).write_bytes(DATA[::-1])
    with pytest.raises(OSError, match="does not match"):
        blobs.read(DIGEST, len(DATA))


def test_threads_that_publish_one_digest_all_succeed(blobs):
    results = []
    threads = [threading.Thread(target=lambda: results.append(blobs.add(DATA)[0])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [DIGEST] * 8
    assert names(blobs) == [DIGEST.file_name]


class Faults:
    """Makes the k-th of the calls that change a disk fail."""

    CALLS = ("write", "fsync", "rename", "fchmod", "mkdir")

    def __init__(self, monkeypatch, k, number):
        self.left, self.number, self.hit = k, number, ""
        for call in self.CALLS:
            monkeypatch.setattr(os, call, self._wrap(call, getattr(os, call)))

    def _wrap(self, name, call):
        def wrapped(*args, **kwargs):
            self.left -= 1
            if self.left == 0:
                self.hit = name
                raise OSError(self.number, os.strerror(self.number), "/secret/path")
            return call(*args, **kwargs)

        return wrapped


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
def test_no_failing_call_leaves_half_a_blob(tmp_path, monkeypatch, number):
    hits = set()
    for k in range(1, 30):
        store = Store(tmp_path / str(k))
        with monkeypatch.context() as patch:
            faults = Faults(patch, k, number)
            try:
                store.blobs.add(DATA)
            except StoreError as error:
                text = str(error)
            else:
                break
        hits.add(faults.hit)
        assert text.startswith(f"cannot write to the model store: {_lower(os.strerror(number))}; ")
        assert problems(store.root) == []
        assert store.blobs.add(DATA)[0] == DIGEST, "the next try works"
    assert hits == {"write", "fsync", "rename", "fchmod", "mkdir"}


def test_a_short_write_is_continued(blobs, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:1000]))
    blobs.add(DATA)
    assert blobs.file(DIGEST).read_bytes() == DATA


def test_file_and_folder_are_synced_around_the_rename(blobs, monkeypatch):
    blobs.add(b"makes the folder")
    calls = []
    fsync, rename = os.fsync, os.rename
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append(stat.S_IFMT(os.fstat(fd).st_mode)), fsync(fd)))
    monkeypatch.setattr(os, "rename", lambda *args: (calls.append("rename"), rename(*args)))
    blobs.add(DATA)
    assert calls == [stat.S_IFREG, "rename", stat.S_IFDIR]


def _lower(text):
    return text[:1].lower() + text[1:]
