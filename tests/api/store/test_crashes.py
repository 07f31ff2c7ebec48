"""Kill -9 in the middle of whatever changes a store, and several processes on one store (rows F1, F5, R29)."""

import os
import subprocess
import sys
import time

import pytest
from support.model_folder import problems, write_ollama_folder

from gristmill.api.store import Store, parse_digest

# The child stops for good before its k-th call that changes the disk, as a process does that is killed there.
STOP_AT = """
import os, sys
from pathlib import Path
left = int(sys.argv[2])
def counted(call):
    def wrapped(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), 9)
        return call(*args, **kwargs)
    return wrapped
for name in ("write", "fsync", "rename", "unlink", "mkdir", "rmdir", "open"):
    setattr(os, name, counted(getattr(os, name)))
from gristmill.api.store import Store
store = Store(Path(sys.argv[1]))
"""
OPERATIONS = {
    "add a blob": "store.blobs.add(b'x' * 100_000)",
    "copy": "store.copy('llama3:8b', 'mattw/bare')",
    "copy to a new name": "store.copy('llama3:8b', 'x.y/new/one:two')",
    "delete": "store.delete('llama3:8b')",
    "prune": "store.prune()",
}


def run(code, *args):
    return subprocess.run([sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, check=False)


def expect_clean(root):
    """What the next start leaves: only whole models, and nothing temporary that is old."""
    late = time.time() - 7200
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            if name.startswith(".tmp-"):
                os.utime(os.path.join(folder, name), (late, late))
    store = Store(root)
    store.prune()
    assert problems(root) == []
    for model in store.list():
        assert model.model_path.exists()
    return store


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_kill_at_any_step_leaves_a_store_that_needs_no_repair(tmp_path, operation):
    for k in range(1, 60):
        root = write_ollama_folder(tmp_path / str(k))
        ended = run(STOP_AT + OPERATIONS[operation], root, k)
        assert ended.stderr == ""
        store = expect_clean(root)
        names = {model.name.short for model in store.list()}
        assert "mattw/Bare:latest" in names
        assert operation == "delete" or "Llama3:8B" in names
        if ended.returncode == 0:
            break
        assert ended.returncode == -9
    else:
        pytest.fail("the operation never ended")
    assert k > 3


PUBLISH = """
import sys
from pathlib import Path
from gristmill.api.store import Store, Name
store = Store(Path(sys.argv[1]))
for i in range(30):
    with store.lease():
        data = b"%d" % (i % 5) * 50_000
        digest, _ = store.blobs.add(data)
        with store.open_blob_writer() as writer:
            writer.write(data)
            writer.commit(digest)
        model = store.find("llama3:8b")
        store.put_manifest(Name.parse(f"new{i % 3}"), model.manifest)
    if i % 4 == 0:
        try:
            store.delete(f"new{i % 3}")
        except Exception as error:
            assert "not found" in str(error), error
    store.prune()
"""


def test_two_processes_work_on_one_store(tmp_path):
    root = write_ollama_folder(tmp_path)
    children = [subprocess.Popen([sys.executable, "-c", PUBLISH, root], stderr=subprocess.PIPE) for _ in range(2)]
    assert [child.communicate()[1] for child in children] == [b"", b""]
    assert problems(root) == []
    assert "Llama3:8B" in [model.name.short for model in Store(root).list()]
    digests = [entry.name for entry in (root / "blobs").iterdir()]
    assert all(parse_digest(name) for name in digests)
