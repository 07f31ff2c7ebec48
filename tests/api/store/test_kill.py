"""kill -9 at any moment: the store is as before or as after, never torn, and goes on working.

``GRISTMILL_ROUNDS`` sets how often each operation is killed (default 8).
"""

import os
import random
import time

import pytest
from support.hf_folder import llama_tensors, write_folder
from support.model_folder import sha256, tiny_gguf, write_ollama_folder
from support.tiny_model import write_tiny_model
from support.zygote import Zygote

from gristmill.api.store import Store
from gristmill.api.store.verify import verify_store

ROUNDS = int(os.environ.get("GRISTMILL_ROUNDS", "8"))
WORK = """
from pathlib import Path
import msgspec
from gristmill.api import conversion
from gristmill.api.create_recipe import read_recipe
from gristmill.api.create import create_steps
from gristmill.api.schema import CreateRequest
from gristmill.api.store import Store
from gristmill.runtime import tokenizer
from gristmill.runtime.chat import preference
from support.forked_converter import ForkedConverter

class Forked:
    PIPE, Popen = None, ForkedConverter

conversion.subprocess = Forked

def work(job):
    store = Store(Path(job["store"]))
    while True:
        for path in job["upload"]:
            store.blobs.add(Path(path).read_bytes())
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
        if job["once"]:
            return
"""


@pytest.fixture(scope="module")
def zygote():
    with Zygote(WORK) as zygote:
        yield zygote


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    return write_tiny_model(folder / "float.gguf", quantize=False), write_folder(folder / "hf", tensors=llama_tensors())


def job_of(kind, store, sources):
    """What is done over and over: files are uploaded, models made of them, copied and deleted."""
    gguf, folder = sources
    digests = {path.name: f"sha256:{sha256(path.read_bytes())}" for path in (gguf, *folder.iterdir())}
    weights = digests.pop(gguf.name)
    create = [
        {"model": "mine", "files": {"a.gguf": weights}, "system": "one"},
        {"model": "mine", "files": {"a.gguf": f"sha256:{sha256(tiny_gguf())}"}, "system": "two"},
        {"model": "again", "from": "mine", "license": "free"},
    ]
    convert = [
        {"model": "small", "files": {"a.gguf": weights}, "quantize": "q8_0"},
        {"model": "hf", "files": digests},
        {"model": "hf", "from": "small", "system": "new"},
    ]
    return {
        "store": str(store.root),
        "upload": [str(path) for path in ((gguf,) if kind == "create" else (gguf, *folder.iterdir()))],
        "create": create if kind == "create" else convert,
        "copy": [("mine", "copied")] if kind == "create" else [],
        "delete": ["again", "copied"] if kind == "create" else [],
        "once": False,
    }


def age(store):
    """Everything but the models is as old as after a night."""
    late = time.time() - 7200
    for path in [store.root / "tmp", *(store.root / "tmp").glob("*"), *store.blobs.path.iterdir()]:
        if path.exists():
            os.utime(path, (late, late))
    for path in store.temporary_manifests():
        os.utime(path, (late, late))


def expect_no_garbage(store):
    """A later start takes whatever no model needs."""
    age(store)
    store.prune()
    used = {blob.digest.file_name for model in store.list() for blob in model.manifest.blobs}
    assert {path.name for path in store.blobs.path.iterdir()} == used
    assert list((store.root / "tmp").glob("*")) == []
    assert list(store.temporary_manifests()) == []


def list_until(store, moment, keep):
    """Others look on meanwhile; they see whole models at every moment."""
    while True:
        models = {model.name.short: model.digest for model in store.list()}
        assert {name: models.get(name) for name in keep} == keep
        if time.monotonic() > moment:
            return
        time.sleep(0.002)


@pytest.mark.parametrize("kind", ["create", "convert"])
def test_kill_at_any_moment_leaves_the_store_whole(tmp_path, sources, zygote, kind):
    store = Store(write_ollama_folder(tmp_path))
    keep = {model.name.short: model.digest for model in store.list()}
    job = job_of(kind, store, sources)
    rng = random.Random(kind)
    seen = set()
    for _ in range(ROUNDS):
        zygote.start(job)
        list_until(store, time.monotonic() + rng.uniform(0, 0.3 if kind == "create" else 0.7), keep)
        zygote.kill()
        after = Store(store.root)
        assert verify_store(after) == []
        models = {model.name.short: model for model in after.list()}
        assert {name: models[name].digest for name in keep} == keep, "what was there is untouched"
        seen.add((tuple(models), len(list(store.blobs.path.glob(".tmp-*"))), len(list(store.root.glob("tmp/*")))))
        for name in {"mine:latest", "again:latest", "copied:latest"} & models.keys():
            assert models[name].system in ("one", "two")
            assert models[name].model_path.is_file()
    assert len(seen) > 1, "it was never killed at work"
    zygote.start(job | {"once": True})
    assert zygote.wait() == 0, "it all still works"
    expect_no_garbage(Store(store.root))


def test_what_was_left_is_taken_later(tmp_path, sources):
    store = Store(write_ollama_folder(tmp_path))
    (store.blobs.path / ".tmp-dead").write_bytes(b"x" * 100)
    (store.root / "tmp" / ".tmp-dead").mkdir(parents=True)
    for path in (store.blobs.path / ".tmp-dead", store.root / "tmp" / ".tmp-dead"):
        os.utime(path, (time.time() - 7200,) * 2)
    assert len(verify_store(store)) == 2
    store.prune()
    assert verify_store(store) == []
