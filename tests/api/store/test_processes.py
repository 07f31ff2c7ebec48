"""Several processes do whatever they like on one store, for a while: nobody meets an error, and it is whole in the end
(hardening F5, F6). ``GRISTMILL_SECONDS`` sets how long (default 4)."""

import os
import random

import pytest
from support.model_folder import tiny_gguf, write_ollama_folder
from support.zygote import Zygote

from gristmill.api.store import Store
from gristmill.api.store.verify import verify_store

SECONDS = float(os.environ.get("GRISTMILL_SECONDS", "4"))
N_PROCESSES = 4
WORK = """
import random, time
from pathlib import Path
import msgspec
from gristmill.api.create import create_steps
from gristmill.api.create_recipe import read_recipe
from gristmill.api.schema import CreateRequest
from gristmill.api.store import CorruptManifest, ModelNotFound, Store
from gristmill.runtime import checkpoint, tokenizer
from gristmill.runtime.chat import preference

NAMES = [f"m{i}" for i in range(6)]

def create(store, rng, gguf):
    # As a client does it: upload, then create; the upload is a blob of no model's until then, and is young.
    digest, _ = store.blobs.add(gguf)
    run(store, model=rng.choice(NAMES), files={"a.gguf": str(digest)}, system=str(rng.randrange(5)))

def derive(store, rng, gguf):
    run(store, model=rng.choice(NAMES), **{"from": rng.choice(NAMES)}, system=str(rng.randrange(5)))

def run(store, **request):
    for _ in create_steps(store, read_recipe(msgspec.convert(request, CreateRequest))):
        pass

def copy(store, rng, gguf):
    store.copy(rng.choice(NAMES), rng.choice(NAMES))

def delete(store, rng, gguf):
    store.delete(rng.choice(NAMES))

def show(store, rng, gguf):
    for model in store.list():
        assert model.size
    model = store.find(rng.choice(NAMES))
    assert model.facts().architecture == "llama"

def tidy(store, rng, gguf):
    store.prune()

def work(job):
    root, seed, seconds, gguf = job
    rng, store = random.Random(seed), Store(Path(root))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(20):
            do = rng.choice([create, derive, derive, copy, delete, show, show, tidy])
            try:
                do(store, rng, bytes.fromhex(gguf))
            except ModelNotFound:
                pass
            except Exception as error:
                # Somebody else may take away what was just found: between uploading and creating, finding and reading.
                if not any(text in str(error) for text in ("is not there; upload it", "is missing", "no such file")):
                    raise
"""


@pytest.mark.slow
def test_processes_do_what_they_like_on_one_store(tmp_path):
    store = Store(write_ollama_folder(tmp_path))
    keep = {model.name.short: model.digest for model in store.list()}
    gguf = tiny_gguf(architecture="llama", template=None)
    zygotes = [Zygote(WORK) for _ in range(N_PROCESSES)]
    try:
        for seed, zygote in enumerate(zygotes):
            zygote.start([str(store.root), seed, SECONDS, gguf.hex()])
        victim = random.Random(1).choice(zygotes)
        victim.kill()
        assert [zygote.wait() for zygote in zygotes if zygote is not victim] == [0] * (N_PROCESSES - 1)
    finally:
        for zygote in zygotes:
            zygote.__exit__(None, None, None)
    assert verify_store(Store(store.root)) == []
    models = {model.name.short: model for model in Store(store.root).list()}
    assert {name: models[name].digest for name in keep} == keep
    names = [name.lower() for name in models]
    assert len(names) == len(set(names))
