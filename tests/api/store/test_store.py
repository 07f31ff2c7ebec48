"""Listing, finding, copying, deleting, on a folder that Ollama wrote and on broken ones (rows N8 to N16, F3 to F14)."""

import errno
import json
import logging
import os

import pytest
from support.model_folder import LIBRARY, add_blob, layer, problems, tiny_gguf, write_manifest, write_ollama_folder

from gristmill.api.store import CorruptManifest, Manifest, ModelNotFound, Name, Store, StoreError, parse_digest
from gristmill.api.store.manifests import decode_config, decode_manifest
from gristmill.runtime.errors import InvalidRequest, UnsupportedModel


@pytest.fixture
def store(tmp_path):
    return Store(write_ollama_folder(tmp_path / "models"))


def blobs(store):
    return {path.name for path in store.blobs.path.iterdir()}


def listed(store):
    return [model.name.short for model in store.list()]


def test_an_ollama_folder_is_listed_newest_first(store):
    for seconds, path in ((1000, "library/Llama3/8B"), (2000, "mattw/Bare/latest")):
        os.utime(store.root / "manifests/registry.ollama.ai" / path, (seconds, seconds))
    assert listed(store) == ["mattw/Bare:latest", "Llama3:8B"]
    assert [model.modified_at.timestamp() for model in store.list()] == [2000, 1000]
    assert store.list()[0].modified_at.utcoffset() is not None


def test_everything_a_layer_says_is_there(store):
    model = store.find("Llama3:8B")
    assert model.template == "{{ .Prompt }} {{ .Response }}"
    assert model.system == "Sei höflich."
    assert model.params == {"num_ctx": 8192, "stop": ["<|eot_id|>", 'a"b'], "temperature": 0.7}
    assert model.license == "First\nSecond\nline"
    assert model.messages == [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
    assert (model.config.model_type, model.config.file_type, model.config.model_families) == ("8.0B", "Q4_0", None)
    assert model.model_path.read_bytes() == tiny_gguf()
    assert model.size == sum((store.blobs.path / name).stat().st_size for name in blobs(store)) - len(
        b'{"model_format": "gguf"}'
    )
    assert len(model.digest) == 64
    bare = store.find("mattw/bare")
    assert (bare.template, bare.system, bare.params, bare.license, bare.messages) == ("", "", {}, "", [])


def test_names_are_found_in_any_case_and_keep_their_spelling(store):
    for text in ("llama3:8b", "LLAMA3:8B", "Registry.Ollama.AI/LIBRARY/Llama3:8b"):
        assert store.find(text).name.short == "Llama3:8B"
    store.copy("llama3:8b", "LLAMA3:Latest")
    assert sorted(listed(store)) == ["Llama3:8B", "Llama3:latest", "mattw/Bare:latest"]
    store.copy("llama3:8b", "llama3:LATEST")
    assert len(listed(store)) == 3, "never two names that differ by case alone"


@pytest.mark.parametrize("text", ["nothing", "Llama3", "mattw/Llama3:8B", "hf.co/library/Llama3:8B", "Llama3:8B2"])
def test_an_unknown_name_is_not_found(store, text):
    with pytest.raises(ModelNotFound) as caught:
        store.find(text)
    assert caught.value.name == text
    with pytest.raises(ModelNotFound):
        store.delete(text)
    with pytest.raises(ModelNotFound):
        store.copy(text, "new")


def test_an_empty_or_absent_folder_is_an_empty_store(tmp_path):
    store = Store(tmp_path / "nowhere")
    assert store.list() == []
    with pytest.raises(ModelNotFound):
        store.find("m")
    assert not store.root.exists(), "looking creates nothing"


def test_a_copy_onto_itself_changes_nothing(store):
    before = store.find("llama3:8b")
    store.copy("Llama3:8B", "llama3:8b")
    after = store.find("llama3:8b")
    assert (after.digest, after.modified_ns) == (before.digest, before.modified_ns)


def test_a_copy_replaces_what_has_its_name(store):
    store.copy("mattw/bare", "llama3:8b")
    assert store.find("llama3:8b").digest == store.find("mattw/bare").digest
    assert store.find("llama3:8b").system == ""
    assert len(blobs(store)) == 2, "what only the replaced model had is gone"
    assert problems(store.root) == []


@pytest.mark.parametrize(
    ("source", "destination", "side"), [("..", "a", "source"), ("Llama3:8B", "../a", "destination")]
)
def test_a_copy_names_the_side_that_is_wrong(store, source, destination, side):
    with pytest.raises(InvalidRequest, match=f'^{side} "../?a?" is invalid$'):
        store.copy(source, destination)


def test_delete_keeps_what_others_use(store):
    store.delete("LLAMA3:8b")
    assert listed(store) == ["mattw/Bare:latest"]
    assert problems(store.root) == []
    assert len(blobs(store)) == 2
    assert not (store.root / LIBRARY).exists(), "empty folders go"
    store.delete("mattw/Bare")
    assert blobs(store) == set()


def test_delete_works_with_noprune(tmp_path):
    store = Store(write_ollama_folder(tmp_path), keep_unused=True)
    store.delete("mattw/Bare")
    store.delete("Llama3:8B")
    assert blobs(store) == set()


def test_an_open_model_stays_readable_after_its_deletion(store):
    with open(store.find("Llama3:8B").model_path, "rb") as file:
        store.delete("Llama3:8B")
        store.delete("mattw/Bare")
        assert file.read() == tiny_gguf()


GARBAGE = [
    b"",
    b"{",
    b"\0" * 100,
    b"null",
    b"[]",
    b"{}",
    b'{"schemaVersion":1,"mediaType":"m","config":{"mediaType":"c","digest":"sha256:%s","size":1},"layers":[]}'
    % (b"0" * 64),
    b'{"schemaVersion":2,"mediaType":"m","config":{"mediaType":"c","digest":"sha256:../../etc/passwd","size":1},"layers":[]}',
    b'{"schemaVersion":2,"mediaType":"m","config":{"mediaType":"c","digest":"","size":1},"layers":[]}',
    b'{"schemaVersion":2,"mediaType":"m","config":{"mediaType":"c","digest":"sha256:%s","size":-1},"layers":[]}'
    % (b"0" * 64),
    b'{"schemaVersion":2,"mediaType":"m","config":{"mediaType":"c","digest":7,"size":1},"layers":[]}',
    b'{"schemaVersion":2,"mediaType":"m","config":{"mediaType":"c","digest":"sha256:%s","size":1},"layers":null}'
    % (b"0" * 64),
    b"[" * 100_000,
    b" " * (5 << 20),
]


@pytest.mark.parametrize("data", GARBAGE, ids=range(len(GARBAGE)))
def test_a_corrupt_manifest_harms_only_its_model(store, data, caplog):
    path = store.root / LIBRARY / "broken" / "latest"
    path.parent.mkdir()
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        assert len(store.list()) == len(store.list()) == 2
    assert len(caplog.records) == 1, "one warning, however often it is listed"
    with pytest.raises(
        CorruptManifest, match=r'^manifest is corrupt: model "broken:latest": .*; create or pull it again'
    ) as e:
        store.find("broken")
    assert str(store.root) not in str(e.value)
    before = blobs(store)
    store.delete("mattw/Bare")
    store.prune()
    assert blobs(store) == before, "while it may name any blob, none is removed"
    store.delete("broken")
    assert listed(store) == ["Llama3:8B"]


def test_a_model_whose_blob_is_missing_or_cut_is_broken_until_it_is_written_again(store):
    manifest = store.find("Llama3:8B").manifest
    path = store.blob_path(manifest.layers[2].digest)
    data = path.read_bytes()
    for damage in (path.unlink, lambda: path.write_bytes(data[:-1]), lambda: path.write_bytes(b"")):
        path.write_bytes(data)
        assert len(store.list()) == 2
        damage()
        assert listed(store) == ["mattw/Bare:latest"]
        with pytest.raises(CorruptManifest, match=r"is missing|has 12 bytes, not 13"):
            store.find("Llama3:8B")
        with pytest.raises(StoreError, match="cannot write the manifest of new:latest: blob sha256"):
            store.put_manifest(Name.parse("new"), manifest)
    store.blobs.add(data)
    store.put_manifest(Name.parse("llama3:8b"), manifest)
    assert store.find("Llama3:8B").system == "Sei höflich."


def test_text_that_does_not_match_its_digest_is_not_used(store):
    model = store.find("Llama3:8B")
    store.blob_path(model.layers[2].digest).write_bytes(b"ignore the rules"[:13])
    with pytest.raises(CorruptManifest, match="does not match the digest"):
        _ = model.system


@pytest.mark.parametrize("config", [b"", b"[]", b'{"model_format":7}', b'{"capabilities":"x"}', b"[" * 100_000])
def test_a_broken_config_makes_a_model_corrupt(store, config):
    file = write_manifest(store.root, "bad/latest", [], {})
    manifest = json.loads(file.read_text())
    manifest["config"] = layer(store.root, "config", config)
    file.write_text(json.dumps(manifest))
    assert len(store.list()) == 2
    with pytest.raises(CorruptManifest):
        store.find("bad")


def test_two_layers_of_one_digest_must_agree_on_its_size(store):
    part = layer(store.root, "license", b"text")
    write_manifest(store.root, "twice/latest", [part, {**part, "size": 9}], {})
    with pytest.raises(CorruptManifest, match="has 4 bytes, not 9"):
        store.find("twice")


def test_a_config_may_hold_nulls_and_unknown_keys():
    config = decode_config(b'{"model_family":null,"model_families":["a"],"rootfs":{"type":"layers"},"new":[1]}')
    assert (config.model_family, config.model_families) == ("", ["a"])


def test_a_manifest_survives_its_encoding(store):
    manifest = store.find("Llama3:8B").manifest
    assert decode_manifest(manifest.encode()) == manifest
    assert manifest.encode().endswith(b"}\n")
    assert b'"from"' not in manifest.encode()
    assert "application/vnd.example.unknown" in [part.media_type for part in manifest.layers]


def test_odd_entries_are_skipped_with_one_warning_each(store, tmp_path, caplog):
    library = store.root / LIBRARY
    (library / "link").mkdir()
    outside = tmp_path / "outside"
    outside.write_text("{}")
    (library / "link" / "latest").symlink_to(outside)
    (library / "folder" / "latest").mkdir(parents=True)
    (library / "fifo").mkdir()
    os.mkfifo(library / "fifo" / "latest")
    (library / "stray").write_text("x")
    (library / "-bad").mkdir()
    (library / "-bad" / "latest").write_text("{}")
    (library / "fifo" / ".tmp-0123").write_text("unfinished")
    with caplog.at_level(logging.WARNING):
        assert len(store.list()) == len(store.list()) == 2
    assert len(caplog.records) == 5
    for name in ("link", "folder", "fifo", "stray"):
        with pytest.raises(ModelNotFound):
            store.find(name)
        with pytest.raises(ModelNotFound):
            store.delete(name)
    assert outside.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_folder_hides_only_itself(store):  # pragma: no cover
    (store.root / LIBRARY / "Llama3").chmod(0)
    assert listed(store) == ["mattw/Bare:latest"]


def test_a_model_without_one_gguf_says_so(store):
    write_manifest(store.root, "cloud/latest", [], {"remote_host": "https://ollama.com"})
    assert "cloud:latest" in listed(store)
    with pytest.raises(UnsupportedModel, match='model "cloud:latest" has 0 layers of GGUF weights'):
        _ = store.find("cloud").model_path


def test_a_changed_manifest_is_read_again(store):
    first = store.find("mattw/bare")
    assert store.find("mattw/bare") is first
    write_manifest(store.root, "registry.ollama.ai/mattw/Bare/latest", [layer(store.root, "system", b"new")], {})
    assert store.find("mattw/bare").system == "new"


def test_a_replaced_model_gives_back_the_blobs_it_had_alone(store):
    old = store.find("Llama3:8B").manifest
    bare = store.find("mattw/bare").manifest
    with store.lease():
        replaced = store.put_manifest(Name.parse("llama3:8b"), bare)
        assert replaced == old.digests - bare.digests
        store.remove_unused(replaced)
        assert len(blobs(store)) == 10, "nothing goes while somebody is at work"
    store.remove_unused(replaced)
    assert len(blobs(store)) == 2


def test_a_blob_of_an_unfinished_model_is_not_deleted_with_another_model(store):
    other = Store(store.root)
    with other.lease():
        store.delete("Llama3:8B")
        assert problems(store.root) == []
        assert len(blobs(store)) == 10
    assert listed(store) == ["mattw/Bare:latest"]


def test_has_blob_makes_a_blob_young(store):
    digest = parse_digest(add_blob(store.root, b"x"))
    os.utime(store.blob_path(digest), (0, 0))
    assert store.has_blob(digest)
    assert store.blob_path(digest).stat().st_mtime > 1e9
    assert not store.has_blob(parse_digest("sha256:" + "0" * 64))


def test_a_store_may_lie_anywhere(tmp_path):
    real = tmp_path / ("très long " + "x" * 150)
    write_ollama_folder(real)
    link = tmp_path / "link"
    link.symlink_to(real)
    store = Store(link)
    store.copy("Llama3:8B", "new")
    assert len(listed(store)) == 3
    assert problems(real) == []


def test_a_failing_disk_leaves_the_old_manifest(store, monkeypatch):
    def fail(*args):
        raise OSError(errno.ENOSPC, "No space left on device", "/secret")

    before = store.find("mattw/bare").digest
    for call in ("write", "fsync", "rename"):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail)
            with pytest.raises(StoreError, match=r"^cannot write .*: no space left on device; make room"):
                store.copy("llama3:8b", "mattw/bare")
        assert store.find("mattw/bare").digest == before
        assert problems(store.root) == []
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        with pytest.raises(StoreError, match=r"^cannot lock the model store"):
            store.delete("mattw/bare")


def test_a_store_that_cannot_be_written_can_be_read(store, monkeypatch, caplog):
    opened = os.open

    def read_only(path, flags, *args, **kwargs):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, "Read-only file system")
        return opened(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", read_only)
    with caplog.at_level(logging.WARNING):
        store.prune()
    assert "can only be read" in caplog.text
    assert len(listed(store)) == 2
    assert store.find("llama3:8b").system
    with pytest.raises(StoreError, match="read-only file system"):
        store.copy("llama3:8b", "new")


def test_ten_thousand_layers_are_the_limit():
    part = {"mediaType": "m", "digest": "sha256:" + "0" * 64, "size": 1}

    def manifest(n):
        return json.dumps({"schemaVersion": 2, "mediaType": "m", "config": part, "layers": [part] * n}).encode()

    assert len(decode_manifest(manifest(10_000)).layers) == 10_000
    with pytest.raises(ValueError, match="10001 layers are over the limit of 10000"):
        decode_manifest(manifest(10_001))


def test_only_paths_inside_the_store_are_touched(store, monkeypatch):
    touched = []
    for name in ("open", "stat", "rename", "unlink", "mkdir", "scandir", "rmdir"):
        monkeypatch.setattr(os, name, _watch(touched, getattr(os, name)))
    for text in ("../../x", "..", "/etc/passwd", "a/../../b", "%2e%2e/x", "x\0", "~root", "sha256:" + "0" * 64):
        for call in (store.find, store.delete, lambda text: store.copy(text, text)):
            with pytest.raises(InvalidRequest):
                call(text)
    assert all(str(path).startswith(str(store.root)) for path in touched)


def _watch(touched, call):
    def wrapped(path, *args, **kwargs):
        touched.append(path)
        return call(path, *args, **kwargs)

    return wrapped


def test_manifest_of_builds_what_ollama_reads(store):
    model = store.find("mattw/bare").manifest
    encoded = json.loads(Manifest.of(model.config, model.layers).encode())
    assert list(encoded) == ["schemaVersion", "mediaType", "config", "layers"]
    assert list(encoded["layers"][0]) == ["mediaType", "digest", "size"]
