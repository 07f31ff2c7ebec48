"""kill -9 at any moment: the store is as before or as after, never torn, and goes on working.

``GRISTMILL_ROUNDS`` sets how often each operation is killed (default 8).
"""

import json
import os
import random
import subprocess
import sys
import time

import pytest
from support.hf_folder import llama_tensors, write_folder
from support.model_folder import add_blob, tiny_gguf, write_ollama_folder
from support.tiny_model import write_tiny_model

from gristmill.api.store import Store
from gristmill.api.store.verify import verify_store

ROUNDS = int(os.environ.get("GRISTMILL_ROUNDS", "8"))
WORK = """
import json, sys
from pathlib import Path
import msgspec
from gristmill.api.create_recipe import read_recipe
from gristmill.api.create import create_steps
from gristmill.api.schema import CreateRequest
from gristmill.api.store import Store
job = json.loads(sys.argv[1])
store = Store(Path(job["store"]))
print("ready", flush=True)
while True:
    for request in job["create"]:
        for _ in create_steps(store, read_recipe(msgspec.convert(request, CreateRequest))):
            pass
    for source, target in job["copy"]:
        store.copy(source, target)
    for name in job["delete"]:
        store.delete(name)
    with store.open_blob_writer() as writer:
        for _ in range(20):
            writer.write(bytes(50_000))
        writer.commit()
    store.prune()
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    return write_tiny_model(folder / "float.gguf", quantize=False), write_folder(folder / "hf", tensors=llama_tensors())


def jobs(store, sources):
    gguf, folder = sources
    weights = add_blob(store.root, gguf.read_bytes())
    other = add_blob(store.root, tiny_gguf())
    hf = {path.name: add_blob(store.root, path.read_bytes()) for path in folder.iterdir()}
    return {
        "create": [
            {"model": "mine", "files": {"a.gguf": weights}, "system": "one"},
            {"model": "mine", "files": {"a.gguf": other}, "system": "two", "parameters": {"stop": ["x"]}},
            {"model": "again", "from": "mine", "license": "free"},
        ],
        "convert": [{"model": "hf", "files": hf}, {"model": "small", "files": {"a.gguf": weights}, "quantize": "q8_0"}],
    }


@pytest.mark.parametrize("kind", ["create", "convert"])
def test_kill_at_any_moment_leaves_the_store_whole(tmp_path, sources, kind):
    store = Store(write_ollama_folder(tmp_path))
    keep = {model.name.short: model.digest for model in store.list()}
    made = jobs(store, sources)
    job = {"store": str(store.root), "create": made[kind], "copy": [], "delete": []}
    if kind == "create":
        job |= {"copy": [("mine", "copied")], "delete": ["again", "copied"]}
    rng = random.Random(kind)
    for _ in range(ROUNDS):
        command = [sys.executable, "-P", "-c", WORK, json.dumps(job)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        assert process.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0, 0.3 if kind == "create" else 2.5))
        process.kill()
        process.wait()
        process.stdout.close()
        after = Store(store.root)
        assert verify_store(after) == []
        models = {model.name.short: model for model in after.list()}
        assert {name: models[name].digest for name in keep} == keep, "what was there is untouched"
        for name in {"mine:latest", "again:latest", "copied:latest"} & models.keys():
            assert models[name].system in ("one", "two")
            assert models[name].model_path.is_file()


def test_what_was_left_is_taken_later(tmp_path, sources):
    store = Store(write_ollama_folder(tmp_path))
    (store.blobs.path / ".tmp-dead").write_bytes(b"x" * 100)
    (store.root / "tmp" / ".tmp-dead").mkdir(parents=True)
    for path in (store.blobs.path / ".tmp-dead", store.root / "tmp" / ".tmp-dead"):
        os.utime(path, (time.time() - 7200,) * 2)
    assert len(verify_store(store)) == 2
    store.prune()
    assert verify_store(store) == []
