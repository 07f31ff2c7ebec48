"""Creating models: from another one and from files, and everything that is refused before anything is written."""

import asyncio
import errno
import json
import os

import msgspec
import pytest
from support import gguf_builder as g
from support.model_folder import add_blob, layer, problems, tiny_gguf, write_manifest, write_ollama_folder

from gristmill.api.create import create_model
from gristmill.api.schema import CreateRequest
from gristmill.api.store import MediaType, ModelNotFound, Store, StoreError
from gristmill.api.store.digests import parse_digest
from gristmill.runtime.errors import InvalidRequest
from gristmill.runtime.quantize.file_types import FILE_TYPES


@pytest.fixture
def store(tmp_path):
    return Store(write_ollama_folder(tmp_path))


@pytest.fixture
def weights(store):
    return add_blob(store.root, tiny_gguf())


async def create(store, **fields):
    request = msgspec.convert({"model": "new", **fields}, CreateRequest)
    return [line["status"] async for line in create_model(store, request)]


def snapshot(store):
    return sorted(
        (str(path), path.stat().st_ino, path.stat().st_mtime_ns) for path in (store.root / "manifests").rglob("*")
    )


async def test_a_model_from_a_gguf_file(store, weights):
    assert await create(store, files={"tiny.gguf": weights}) == [
        "parsing GGUF",
        f"using existing layer {weights}",
        "writing manifest",
        "success",
    ]
    model = store.find("new")
    assert model.model_path.read_bytes() == tiny_gguf()
    assert model.parent_model == ""
    config = model.config
    assert (config.model_format, config.model_family, config.model_families) == ("gguf", "llama", ["llama"])
    assert (config.model_type, config.file_type) == ("57", "Q4_K_M")
    raw = json.loads(store.blob_path(model.manifest.config.digest).read_bytes())
    assert (raw["architecture"], raw["os"]) == ("amd64", "linux")
    assert problems(store.root) == []


async def test_everything_a_request_may_add(store, weights):
    lines = await create(
        store,
        files={"tiny.gguf": weights},
        system="Be brief.",
        parameters={"num_ctx": 64, "stop": ["</s>", "x"], "temperature": 0.5},
        messages=[{"role": "user", "content": "hello"}, {"role": "assistant", "content": "ho"}],
        license=["MIT", "Apache"],
        renderer="r",
        parser="p",
        requires="0.14.0",
        info={"capabilities": ["tools"], "parameter_size": "57 of them", "context_length": 99, "unknown": 1},
    )
    assert sum(line.startswith("creating new layer sha256:") for line in lines) == 5
    model = store.find("new")
    assert (model.system, model.licenses) == ("Be brief.", ["MIT", "Apache"])
    assert model.params == {"num_ctx": 64, "stop": ["</s>", "x"], "temperature": 0.5}
    assert model.messages == [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "ho"}]
    config = model.config
    assert (config.renderer, config.parser, config.requires, config.context_length) == ("r", "p", "0.14.0", 99)
    assert (config.model_type, config.capabilities) == ("57 of them", ["tools"])
    assert model.facts().capabilities == ("tools", "completion")


async def test_a_model_from_another_one_takes_everything_over(store, weights):
    lines = await create(store, **{"from": "llama3:8b"})
    assert len(lines) == 8 + 2
    assert all(line.startswith("using existing layer sha256:") for line in lines[:-2])
    old, new = store.find("llama3:8b"), store.find("new")
    assert [part.digest for part in new.layers] == [part.digest for part in old.layers]
    assert {part.from_ for part in new.layers} == {"Llama3:8B"}
    assert new.parent_model == "Llama3:8B"
    assert (new.config.model_type, new.config.file_type) == ("8.0B", "Q4_0")


async def test_what_the_request_says_wins_and_licenses_are_added(store):
    await create(
        store,
        **{"from": "llama3:8b"},
        system="New.",
        parameters={"temperature": 0, "top_k": 1},
        license="Third",
        messages=[{"role": "User", "content": "only"}],
    )
    model = store.find("new")
    assert (model.system, model.template) == ("New.", "{{ .Prompt }} {{ .Response }}")
    assert model.params == {"num_ctx": 8192, "stop": ["<|eot_id|>", 'a"b'], "temperature": 0, "top_k": 1}
    assert model.licenses == ["First", "Second\nline", "Third"]
    assert model.messages == [{"role": "user", "content": "only"}]
    assert store.find("llama3:8b").system == "Sei höflich."


async def test_the_same_license_is_not_added_twice(store):
    await create(store, **{"from": "llama3:8b"}, license="First")
    assert store.find("new").licenses == ["First", "Second\nline"]


async def test_a_model_may_be_made_from_itself(store):
    await create(store, model="LLAMA3:8b", **{"from": "llama3:8b"}, system="New.")
    assert [model.name.short for model in store.list() if model.system == "New."] == ["Llama3:8B"]
    assert not store.has_blob(_digest("Sei höflich.".encode())), "the replaced text is removed"
    assert problems(store.root) == []


async def test_noprune_keeps_what_was_replaced(store):
    keeper = Store(store.root, keep_unused=True)
    await create(keeper, model="llama3:8b", **{"from": "llama3:8b"}, system="New.")
    assert store.has_blob(_digest("Sei höflich.".encode()))


async def test_a_projector_goes_with_the_weights(store, weights):
    eye = tiny_gguf(g.text("general.type", "mmproj"), architecture="clip", template=None)
    await create(store, files={"b.gguf": weights, "a-mmproj.gguf": add_blob(store.root, eye)})
    model = store.find("new")
    assert [part.media_type.rpartition(".")[2] for part in model.layers] == ["projector", "model"]
    assert "vision" in model.facts().capabilities
    assert model.config.model_family == "llama"


async def test_gguf_is_known_by_its_content(store, weights):
    await create(store, files={"weights": weights})
    assert store.find("new")


async def test_info_text_null_is_not_given(store, weights):
    await create(store, files={"a.gguf": weights}, parameters={"seed": None, "mirostat": 2})
    assert store.find("new").params == {}


ZEROS = "sha256:" + "0" * 64
OLLAMAS = ("F32", "F16", "Q4_K_S", "Q4_K_M", "Q8_0")
MORE = ", ".join(name for name in FILE_TYPES if name not in OLLAMAS)
REFUSED = [
    ({"model": ""}, "invalid model name"),
    ({"model": "../x"}, "invalid model name"),
    ({}, "neither 'from' or 'files' was specified"),
    ({"from": ".."}, "invalid model name"),
    ({"from": "/dev/zero"}, "invalid model name"),
    ({"from": "./model.gguf"}, "invalid model name"),
    ({"files": {"a.gguf": "sha256:1"}}, "invalid digest format"),
    ({"adapters": {"a.gguf": ""}}, "invalid digest format"),
    ({"files": {"a.gguf": ZEROS}}, f'files: blob {ZEROS} of "a.gguf" is not there; upload it first'),
    (
        {"from": "llama3:8b", "draft_files": {"a.gguf": ZEROS}},
        f'draft_files: blob {ZEROS} of "a.gguf" is not there; upload it first',
    ),
    ({"files": {f"{i}.gguf": ZEROS for i in range(4097)}}, "files: 4097 files are over the limit of 4096"),
    ({"files": {"a.gguf": ZEROS, "./a.gguf": ZEROS}}, 'files: "./a.gguf" is there twice'),
    ({"files": {"a": ZEROS, "a/b/c.gguf": ZEROS}}, 'files: "a" is a file, and the folder of "a/b/c.gguf"'),
    ({"from": "llama3:8b", "parameters": {"bogus": 1}}, "unknown parameter 'bogus'"),
    ({"from": "llama3:8b", "parameters": {"num_ctx": "x"}}, 'option "num_ctx" must be of type integer'),
    ({"from": "llama3:8b", "system": "x" * (16 << 20)}, "system: 16777218 bytes are over the limit of 16777216"),
    (
        {"from": "llama3:8b", "messages": [{"role": "boss", "content": "x"}]},
        'messages[0].role: "boss" is not one of system, user, assistant, tool',
    ),
    ({"from": "llama3:8b", "info": {"base_name": 1}}, 'info field "base_name" must be a string'),
    ({"from": "llama3:8b", "info": {"context_length": "x"}}, 'info field "context_length" must be a number'),
    (
        {"from": "llama3:8b", "info": {"context_length": -1}},
        'info field "context_length" must be a non-negative integer',
    ),
    (
        {"from": "llama3:8b", "info": {"context_length": 1.5}},
        'info field "context_length" must be a non-negative integer',
    ),
    ({"from": "llama3:8b", "info": {"capabilities": "x"}}, 'info field "capabilities" must be an array of strings'),
    ({"from": "llama3:8b", "remote_host": "https://ollama.com"}, "remote_host: not supported in this version"),
    ({"from": "llama3:8b", "draft_quantize": "Q8_0"}, "--draft-quantize requires a DRAFT model"),
    *(
        (
            {"from": "llama3:8b", name: value},
            f"unsupported quantization type {value.upper()} - supported types are {', '.join(OLLAMAS)}; also {MORE}",
        )
        for name, value in {"quantize": "q9_k", "quantization": "int4"}.items()
    ),
    ({"from": "llama3:8b", "quantize": "q8_0"}, "quantization is only supported for F16, BF16 and F32 models"),
    (
        {"from": "llama3:8b", "adapters": {"a.gguf": ZEROS}},
        f'adapters: blob {ZEROS} of "a.gguf" is not there; upload it first',
    ),
    *(
        ({field: {path: ZEROS}}, "file path must be relative")
        for field in ("files", "adapters", "draft_files")
        for path in ("/a.gguf", "../a.gguf", "a/../../b.gguf", "..", "", "a\0.gguf", "C:\\a.gguf", "\\a.gguf", "..\\a")
    ),
]


@pytest.mark.parametrize(("fields", "error"), REFUSED, ids=range(len(REFUSED)))
async def test_bad_requests_write_nothing(store, fields, error):
    before = snapshot(store)
    with pytest.raises(InvalidRequest) as caught:
        await create(store, **fields)
    assert str(caught.value) == error
    assert snapshot(store) == before


async def test_a_draft_model_is_a_layer_of_its_own_and_a_new_one_replaces_it(store, weights):
    drafts = [add_blob(store.root, tiny_gguf(g.text("general.author", name))) for name in ("one", "two")]
    await create(store, files={"tiny.gguf": weights}, draft_files={"d.gguf": drafts[0]})
    assert store.find("new").draft_path == store.blob_path(parse_digest(drafts[0]))
    await create(store, **{"from": "new"}, model="newer", draft_files={"d.gguf": drafts[1]})
    newer = store.find("newer")
    assert newer.draft_path == store.blob_path(parse_digest(drafts[1]))
    assert newer.model_path == store.find("new").model_path
    assert [line.media_type for line in newer.layers].count(MediaType.DRAFT) == 1
    await create(store, files={"tiny.gguf": weights}, model="plain")
    assert store.find("plain").draft_path is None
    assert problems(store.root) == []


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"PK", "draft_files: supplied file was not in GGUF format"),
        (b"GGUF", "invalid gguf: version: the file ends inside it"),
        (tiny_gguf(architecture="clip"), "draft_files: they are not one model"),
    ],
)
async def test_a_draft_that_is_no_model_is_refused(store, data, error):
    with pytest.raises(InvalidRequest, match=error):
        await create(store, **{"from": "llama3:8b"}, draft_files={"d.gguf": add_blob(store.root, data)})


TINY = tiny_gguf()
BAD_FILES = [
    ({"a.bin": b"PK\3\4"}, "unknown type"),
    ({"a.gguf": b"PK\3\4"}, "supplied file was not in GGUF format"),
    ({"a.gguf": TINY, "b.gguf": b"pickle"}, "supplied file was not in GGUF format"),
    ({"a.gguf": b"GGUF"}, "invalid gguf: version: the file ends inside it"),
    ({"a.gguf": TINY[:-1]}, "invalid gguf: tensor"),
    ({"a.gguf": TINY[:300]}, "invalid gguf: "),
    ({"a.gguf": g.Gguf(version=9).build()}, "invalid gguf: version: 9 is not supported"),
    ({"a.safetensors": b"x"}, "invalid safetensors: config.json"),
    ({"a.gguf": tiny_gguf(g.text("general.type", "adapter"))}, "files: 0 of them are models, it must be one"),
    ({"a.gguf": TINY, "b.gguf": tiny_gguf(template=None)}, "files: 2 of them are models, it must be one"),
    ({"a.gguf": tiny_gguf(architecture="clip")}, "files: 0 of them are models, it must be one"),
    (
        {"a.gguf": tiny_gguf(g.KeyValue("split.count", g.UINT16, b"\2\0"))},
        'key "split.count": the file is one of 2 parts',
    ),
]


@pytest.mark.parametrize(("files", "error"), BAD_FILES, ids=range(len(BAD_FILES)))
async def test_bad_files_write_nothing(store, files, error):
    digests = {name: add_blob(store.root, data) for name, data in files.items()}
    before, blobs = snapshot(store), len(list(store.blobs.path.iterdir()))
    with pytest.raises(InvalidRequest) as caught:
        await create(store, files=digests, system="never written")
    assert str(caught.value).startswith(error)
    assert str(store.root) not in str(caught.value)
    assert (snapshot(store), len(list(store.blobs.path.iterdir()))) == (before, blobs)


async def test_an_unknown_base_is_not_found(store):
    with pytest.raises(ModelNotFound) as caught:
        await create(store, **{"from": "Nothing"})
    assert caught.value.name == "Nothing"


async def test_a_base_without_weights_is_refused(store):
    write_manifest(store.root, "cloud/latest", [], {"remote_host": "x"})
    with pytest.raises(InvalidRequest, match=r'^from: model "cloud:latest" has 0 layers of GGUF weights'):
        await create(store, **{"from": "cloud"})


async def test_a_full_disk_leaves_the_old_model(store, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device", "/secret")

    before = snapshot(store)
    for call in ("write", "fsync", "rename"):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, full)
            with pytest.raises(StoreError, match="no space left on device"):
                await create(store, model="llama3:8b", **{"from": "llama3:8b"}, system="New.")
        assert snapshot(store) == before
        assert problems(store.root) == []


async def test_whoever_stops_listening_gives_the_lease_back(store):
    request = msgspec.convert({"model": "new", "from": "llama3:8b"}, CreateRequest)
    lines = create_model(store, request)
    await anext(lines)
    await lines.aclose()
    layer(store.root, "license", b"x")
    store.delete("llama3:8b")
    store.delete("mattw/bare")
    assert not store.has_blob(_digest(tiny_gguf())), "blobs can be deleted again"


async def test_a_cancelled_creation_gives_the_lease_back(store, weights):
    task = asyncio.create_task(create(store, files={"a.gguf": weights}))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(100):  # the step that was under way ends in its thread
        with store._lease.try_exclusive() as is_free:
            if is_free:
                break
        await asyncio.sleep(0.01)
    assert is_free
    assert problems(store.root) == []


def _digest(data):
    from gristmill.api.store.digests import digest_of

    return digest_of(data)
