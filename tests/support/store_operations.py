"""What can be done to a store that ``write_ollama_folder`` made, each by name: for tests that disturb it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from support.model_folder import tiny_gguf

from gristmill.api.create import create_steps
from gristmill.api.create_recipe import read_recipe
from gristmill.api.schema import CreateRequest
from gristmill.api.store import Store
from gristmill.api.store.digests import digest_of
from gristmill.api.store.errors import ModelNotFound, store_errors
from gristmill.api.store.linking import link_blob


def create(store: Store, **request: Any) -> None:
    list(create_steps(store, read_recipe(msgspec.convert(request, CreateRequest))))


def create_from_files(store: Store) -> None:
    create(store, model="llama3:8b", files={"a.gguf": add_blob_again(store)}, system="new", parameters={"stop": ["x"]})


def add_blob_again(store: Store) -> str:
    digest, _ = store.blobs.add(tiny_gguf(architecture="qwen2"))
    return str(digest)


def adopt(store: Store) -> None:
    with store.lease(), store.scratch() as folder:
        with store_errors("write to the model store"):
            (folder / "made").write_bytes(b"x" * 5000)
        store.adopt_blob(folder / "made")


def link(store: Store) -> None:
    source = store.root.parent / "mine.gguf"
    source.write_bytes(tiny_gguf(architecture="gemma"))
    link_blob(store.blobs, source, digest_of(source.read_bytes()), source.stat())


def delete(store: Store) -> None:
    try:
        store.delete("llama3:8b")
    except ModelNotFound:
        assert store.list()


OPERATIONS: Mapping[str, Callable[[Store], Any]] = {
    "add": lambda store: store.blobs.add(b"x" * 5000),
    "adopt": adopt,
    "copy": lambda store: store.copy("llama3:8b", "mattw/bare"),
    "copy to a new name": lambda store: store.copy("llama3:8b", "x.y/new/one:two"),
    "create from a model": lambda store: create(store, **{"model": "mattw/bare", "from": "llama3:8b", "system": "new"}),
    "create from files": create_from_files,
    "delete": delete,
    "link": link,
    "list": lambda store: store.list(),
    "prune": lambda store: store.prune(),
}
