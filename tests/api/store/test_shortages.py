"""Any system call of the store fails once: the model is the old one or the new one, the error says what to do, and the
next try works (hardening F4, D20)."""

import errno
import gc
import os
import shutil
import time
from contextlib import suppress

import pytest
from support.failing_disk import failing_disk
from support.model_folder import add_blob, write_ollama_folder
from support.store_operations import OPERATIONS

from gristmill.api.errors import error_response
from gristmill.api.store import Store
from gristmill.api.store.errors import StoreBusy, StoreError, store_errors
from gristmill.api.store.verify import verify_store
from gristmill.runtime.errors import GristmillError

ERRORS = [errno.ENOSPC, errno.EMFILE, errno.EIO]
WAYS_OUT = {
    errno.ENOSPC: "no space left on device; make room",
    errno.EMFILE: "too many open files; try again",
    errno.EIO: "input/output error; the disk may be failing",
}
# What stays if one of these fails, a prune takes later.
CLEANING = {"unlink", "rmdir", "scandir", "open", "close", "lstat", "stat", "fstat"}
MAX_CALLS = 400


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A store with something to tidy up."""
    root = write_ollama_folder(tmp_path_factory.mktemp("template") / "models")
    add_blob(root, b"unused")
    (root / "tmp" / ".tmp-left").mkdir(parents=True)
    (root / "blobs" / ".tmp-left").write_bytes(b"left")
    age(root)
    return root


def age(root):
    late = time.time() - 7200
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            os.utime(os.path.join(folder, name), (late, late))


def state(root):
    return {model.name.short: model.digest for model in Store(root).list()}


def temporaries(root):
    return sorted(path.name for path in root.rglob(".tmp-*") if path.name != ".tmp-left")


def open_files():
    """Where the descriptors of this process lead to."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
    return sorted(found)


def expect_whole(root, allowed):
    assert state(root) in allowed
    assert [problem for problem in verify_store(Store(root)) if problem.kind != "leftover"] == []


@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("name", OPERATIONS)
def test_any_call_may_fail(tmp_path, template, name, number):
    operate = OPERATIONS[name]
    shutil.copytree(template, done := tmp_path / "done" / "models")
    operate(Store(done))
    states = (state(template), state(done))
    hits, k = set(), 0
    for k in range(1, MAX_CALLS):
        shutil.copytree(template, root := tmp_path / str(k) / "models")
        store, n_open = Store(root), open_files()
        with failing_disk(root, k, number) as disk:
            try:
                operate(store)
            except GristmillError as error:
                expect_told(error, number)
        if not disk.hit:
            break
        hits.add(disk.hit)
        if open_files() != n_open:
            gc.collect()  # slow, and most often there is nothing to collect
        assert open_files() == n_open, f"{disk.hit} failed, and a file stayed open"
        expect_whole(root, states)
        assert temporaries(root) == [] or disk.hit in CLEANING
        operate(store)
        assert state(root) == states[1], "the next try works"
        age(root)
        store.prune()
        assert verify_store(Store(root)) == []
        shutil.rmtree(root.parent)
    assert k < MAX_CALLS - 1
    assert hits or number == errno.ENOSPC


def expect_told(error, number):
    if isinstance(error, StoreError):
        assert WAYS_OUT[number] in str(error)
        assert isinstance(error, StoreBusy) == (number == errno.EMFILE)
    assert "/" not in str(error).lower().replace("input/output", "").replace("mattw/", "").replace("x.y/new/", "")


async def test_what_passes_is_answered_with_503():
    with pytest.raises(StoreBusy, match="too many open files") as caught, store_errors("read from the model store"):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    answer = error_response(caught.value)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
