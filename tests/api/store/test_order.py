"""What is written is on the disk before it gets its name, and its name before success is told; manifests come last.

So whatever a power cut leaves, it leaves whole models (hardening F2). Seen through ``os`` and ``open``.
"""

import builtins
import io
import os
from pathlib import Path

import pytest
from support.model_folder import tiny_gguf, write_ollama_folder
from support.registry import MODEL, SMALL, Registry, lines_of
from support.store_operations import OPERATIONS

from gristmill.api.registry.transfers import Transfers
from gristmill.api.registry.transport import Transport
from gristmill.api.store import Store
from gristmill.api.store.digests import digest_of
from gristmill.api.store.linking import link_blob

CALLS = {"write": "write", "pwrite": "write", "fsync": "sync", "fdatasync": "sync"}
NAMED = ("blobs/sha256-", "manifests/")


class Trace:
    """Events below a folder, in order: (what, path), for a rename (rename, from, to)."""

    def __init__(self, root, patch):
        self.root, self.events = str(root), []
        for name, what in CALLS.items():
            patch.setattr(os, name, self._of_file(what, getattr(os, name)))
        for name in ("rename", "mkdir"):
            patch.setattr(os, name, self._of_paths(name, getattr(os, name)))
        opened = self._opened(builtins.open)
        patch.setattr(builtins, "open", opened)
        patch.setattr(io, "open", opened)

    def _note(self, what, *paths):
        if all(str(path).startswith(self.root) for path in paths):
            self.events.append((what, *(os.path.relpath(path, self.root) for path in paths)))

    def _of_file(self, what, call):
        def wrapped(fd, *args):
            self._note(what, os.readlink(f"/proc/self/fd/{fd}"))
            return call(fd, *args)

        return wrapped

    def _of_paths(self, what, call):
        def wrapped(*args, **kwargs):
            result = call(*args, **kwargs)
            self._note(what, *(path for path in args if isinstance(path, str | Path)))
            return result

        return wrapped

    def _opened(self, call):
        """Files that are written through Python's own buffers count as written when they are opened."""

        def wrapped(path, mode="r", *args, **kwargs):
            if set(mode) & set("wxa+") and isinstance(path, str | Path):
                self._note("write", path)
            return call(path, mode, *args, **kwargs)

        return wrapped


def expect_order(events):
    """Every file that got a name that counts was synced after its last write, and its folder after it got it."""
    for i, (what, *paths) in enumerate(events):
        if what == "write":
            assert not is_named(paths[0]), "what has its name is never written to"
        elif what == "mkdir":
            assert after(events, i, ("sync", os.path.dirname(paths[0]) or ".")) or not counts(paths[0])
        elif what == "rename" and is_named(paths[1]):
            assert is_synced(events[:i], paths[0]), f"{paths[0]} was not synced before it became {paths[1]}"
            synced = after(events, i, ("sync", os.path.dirname(paths[1])))
            assert synced, f"the folder of {paths[1]} was not synced"
            if paths[1].startswith("manifests/"):
                blobs = [j for j, event in enumerate(events) if event[0] == "rename" and is_named(event[-1], NAMED[0])]
                assert all(after(events[:i], j, ("sync", "blobs")) for j in blobs), "a manifest came before its blobs"


def is_named(path, prefixes=NAMED):
    name = path.rpartition("/")[2]
    return path.startswith(prefixes) and not name.startswith(".tmp-") and "-partial" not in name


def counts(folder):
    return folder.startswith("manifests") or folder == "blobs"


def after(events, i, event):
    return event in events[i + 1 :]


def is_synced(events, path):
    """Whether the last that happened to the file was a sync."""
    return [event[0] for event in events if event[-1] == path and event[0] in ("write", "sync")][-1:] == ["sync"]


@pytest.mark.parametrize("name", sorted(OPERATIONS.keys() - {"list", "prune", "delete", "link"}))
def test_names_come_after_syncs(tmp_path, monkeypatch, name):
    store = Store(write_ollama_folder(tmp_path / "models"))
    with monkeypatch.context() as patch:
        trace = Trace(store.root, patch)
        OPERATIONS[name](store)
    assert [event for event in trace.events if event[0] == "rename" and is_named(event[2])]
    expect_order(trace.events)


def test_a_link_is_synced_before_it_gets_its_name(tmp_path, monkeypatch):
    store = Store(write_ollama_folder(tmp_path / "models"))
    source = tmp_path / "mine.gguf"
    source.write_bytes(tiny_gguf(architecture="gemma"))
    synced = []
    with monkeypatch.context() as patch:
        trace = Trace(store.root, patch)
        patch.setattr(os, "fsync", fsync_by_inode(synced, os.fsync))
        link_blob(store.blobs, source, digest_of(source.read_bytes()), source.stat())
    (renamed,) = [event for event in trace.events if event[0] == "rename"]
    assert synced.index((store.root / renamed[2]).stat().st_ino) < synced.index(store.blobs.path.stat().st_ino)


def fsync_by_inode(synced, fsync):
    """A hard link has two names: what was synced is told by its inode."""

    def wrapped(fd):
        synced.append(os.fstat(fd).st_ino)
        return fsync(fd)

    return wrapped


async def test_a_pull_names_blobs_after_syncs_and_the_manifest_last(tmp_path, monkeypatch):
    store = Store(tmp_path / "models")
    async with Registry() as registry:
        registry.add_model("a/b", (MODEL, tiny_gguf()), ("x/bulk", bytes(range(256)) * 80))
        transfers = Transfers(store, Transport(SMALL))
        with monkeypatch.context() as patch:
            trace = Trace(store.root, patch)
            await lines_of(transfers.pull(f"{registry.host}/a/b", insecure=True))
        await transfers.close()
    renames = [event[2] for event in trace.events if event[0] == "rename" and is_named(event[2])]
    assert len(renames) == 4
    assert renames[-1].startswith("manifests/")
    expect_order(trace.events)


def test_the_check_itself_sees_what_is_wrong():
    good = [("write", "blobs/.tmp-1"), ("sync", "blobs/.tmp-1"), ("rename", "blobs/.tmp-1", "blobs/sha256-a")]
    expect_order([*good, ("sync", "blobs")])
    manifest = [("write", "manifests/.tmp-2"), ("sync", "manifests/.tmp-2")]
    manifest.append(("rename", "manifests/.tmp-2", "manifests/m"))
    for wrong in (
        good,
        [good[0], good[2], ("sync", "blobs")],
        [good[1], good[0], good[2], ("sync", "blobs")],
        [*good, *manifest, ("sync", "manifests"), ("sync", "blobs")],
        [("write", "blobs/sha256-a")],
    ):
        with pytest.raises(AssertionError):
            expect_order(wrong)
