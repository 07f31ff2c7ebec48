"""One malformation of a safetensors file or folder per case, S1 to S12: each is refused, and the part is named."""

import json
import random

import pytest
from safetensors.torch import save_file
from support.hf_folder import LLAMA, MIXTRAL, llama_tensors, mixtral_tensors, write_folder, write_json

from gristmill.runtime.checkpoint import Limits, open_checkpoint
from gristmill.runtime.checkpoint.mapped import MappedFile
from gristmill.runtime.checkpoint.safetensors_header import read_entries
from gristmill.runtime.errors import InvalidFile

A = '"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'
B = '"b":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}'


def file_of(header: str | bytes, data: bytes = bytes(8), length: int | None = None) -> bytes:
    raw = header.encode() if isinstance(header, str) else header
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8), **more) -> str:
    fields = {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}
    return json.dumps({"a": {key: value for key, value in fields.items() if value != "absent"}})


HUGE = 4_194_305
CASES: list[tuple[str, bytes, str]] = [
    ("S1 short", b"1234567", "header length"),
    *((f"S1 {n}", file_of("{}", length=n), "header length") for n in (0, 1, 11, 100_000_001, 2**63, 2**64 - 1)),
    ("S2 not UTF-8", file_of(b"{\xff}"), "header"),
    ("S2 not JSON", file_of("{abc}"), "header"),
    ("S2 array", file_of("[]"), "header: does not start with {"),
    ("S2 space first", file_of(" {}"), "header: does not start with {"),
    ("S2 BOM", file_of("\ufeff{}"), "header: does not start with {"),
    ("S2 text behind", file_of("{" + A + "}x"), "header: text follows"),
    ("S2 newline behind", file_of("{" + A + "}\n"), "header: text follows"),
    ("S2 comma at the end", file_of("{" + A + ",}"), "header"),
    ("S2 unclosed", file_of("{" + A), "header"),
    ("S3 tensor", file_of("{" + A + "," + A + "}"), 'tensor "a": is there twice'),
    ("S3 escaped spelling", file_of("{" + A + "," + A.replace('"a"', '"\\u0061"') + "}"), 'tensor "a": is there twice'),
    ("S3 field", file_of('{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}'), "twice"),
    ("S3 metadata", file_of('{"__metadata__":{},"__metadata__":{},' + A + "}"), "twice"),
    ("S3 metadata key", file_of('{"__metadata__":{"x":"1","x":"1"},' + A + "}"), "__metadata__"),
    ("S4 nesting", file_of('{"a":' + "[" * 100_000 + "]" * 100_000 + "}"), 'tensor "a"'),
    ("S4 nesting in a field", file_of('{"a":{"shape":' + "[" * 3000 + "]" * 3000 + "}}"), 'tensor "a"'),
    ("S4 nested objects", file_of('{"a":' * 100_000), 'tensor "a"'),
    ("S4 entries", file_of("{" + ",".join(f'"{i}":1' for i in range(1_000_000)) + "}"), 'tensor "0"'),
    ("S4 long entry", file_of(entry(shape=[1] * 5000)), 'tensor "a"'),
    ("S5 number", file_of('{"__metadata__":{"x":1},' + A + "}"), "__metadata__"),
    ("S5 object", file_of('{"__metadata__":{"x":{}},' + A + "}"), "__metadata__"),
    ("S5 null", file_of('{"__metadata__":null,' + A + "}"), "__metadata__"),
    *((f"S6 lacks {k}", file_of(entry(**{k: "absent"})), "fields") for k in ("dtype", "shape")),
    ("S6 lacks data_offsets", file_of('{"a":{"dtype":"F32","shape":[2]}}'), "fields"),
    ("S6 extra field", file_of(entry(more=1)), "fields"),
    *((f"S6 shape {s}", file_of(entry(shape=s)), "shape") for s in (2, "2", [2.0], [-2], [True], ["2"], None)),
    *((f"S6 offsets {o}", file_of(entry(offsets=o)), "data_offsets") for o in ([], [0], [0, 8, 8], 8, [0, 8.0])),
    *((f"S7 {d}", file_of(entry(dtype=d)), "unknown dtype") for d in ("F33", "f32", "", None, 1, ["F32"])),
    ("S7 half a byte", file_of(entry("F4", [15])), "does not fill"),
    ("S8 begin behind end", file_of(entry(offsets=[8, 0])), "data_offsets"),
    ("S8 past the data", file_of(entry(shape=[3], offsets=[0, 12])), "data"),
    ("S8 negative", file_of(entry(offsets=[-8, 0])), "data_offsets"),
    ("S8 huge", file_of(entry(offsets=[2**63, 2**63 + 8])), "data_offsets"),
    ("S9 too small", file_of(entry(shape=[1])), "does not fill"),
    ("S9 wraps", file_of(entry(shape=[HUGE, HUGE, 211_106_198_978_564])), "does not fill"),
    ("S9 wraps beside zero", file_of(entry(shape=[2**62, 4, 0], offsets=[0, 0])), "does not fill"),
    ("S10 overlap", file_of("{" + A + "," + B.replace("[8,16]", "[4,12]") + "}", bytes(12)), 'tensor "b"'),
    ("S10 hole", file_of("{" + A + "," + B.replace("[8,16]", "[12,20]") + "}", bytes(20)), 'tensor "b"'),
    ("S10 start", file_of(entry(offsets=[4, 12]), bytes(12)), 'tensor "a"'),
    ("S10 end", file_of(entry(), bytes(9)), "data"),
    ("S10 nothing but data", file_of("{}", bytes(8)), "data"),
]


def entries_of(tmp_path, content: bytes, limits: Limits | None = None):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    return read_entries(MappedFile(path), limits or Limits())


@pytest.mark.parametrize(("content", "part"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_malformed_header_is_refused_and_the_part_is_named(tmp_path, content, part):
    with pytest.raises(InvalidFile) as refusal:
        entries_of(tmp_path, content)
    assert str(refusal.value).startswith("invalid safetensors: ")
    assert part in str(refusal.value)
    assert len(str(refusal.value)) < 512


@pytest.mark.parametrize(
    "header",
    [
        "{" + A + "}",
        "{" + A + "}    ",
        '{ "a" : {\n"dtype" : "F32", "shape" : [ 2 ], "data_offsets" : [ 0 , 8 ] } }',
        '{"__metadata__":{"format":"pt","note":"} {"},' + A + "}",
        '{"__metadata__":{},' + A + "}",
        "{" + A + ',"e":{"dtype":"F64","shape":[0,7],"data_offsets":[8,8]}}',
        '{"a":{"dtype":"F4","shape":[16],"data_offsets":[0,8]}}',
    ],
)
def test_a_valid_header_in_any_spelling_is_read(tmp_path, header):
    found = entries_of(tmp_path, file_of(header))["a"]
    assert (found.begin, found.end) == (8 + len(header), 16 + len(header))


def test_files_of_the_safetensors_package_are_read(tmp_path):
    save_file(llama_tensors(), tmp_path / "a.safetensors", metadata={"format": "pt"})
    found = read_entries(MappedFile(tmp_path / "a.safetensors"), Limits())
    assert {name: entry.shape for name, entry in found.items()} == {
        n: tuple(t.shape) for n, t in llama_tensors().items()
    }


@pytest.mark.parametrize(
    ("name", "part"), [("n_safetensors_entries", "header"), ("safetensors_header_bytes", "length")]
)
def test_limits_hold_at_the_limit_and_not_one_below(tmp_path, name, part):
    header = "{" + A + "," + B + "}"
    limit = 2 if part == "header" else len(header)
    content = file_of(header, bytes(16))
    assert len(entries_of(tmp_path, content, Limits(**{name: limit}))) == 2
    with pytest.raises(InvalidFile, match=part):
        entries_of(tmp_path, content, Limits(**{name: limit - 1}))


def test_every_prefix_and_random_changes_are_refused_or_leave_a_usable_file(tmp_path):
    content, chance = file_of('{"__metadata__":{"k":"v"},' + A + "," + B + "}", bytes(16)), random.Random(1)
    for n in range(len(content)):
        with pytest.raises(InvalidFile):
            entries_of(tmp_path, content[:n])
    for _ in range(1500):
        damaged = bytearray(content)
        for _ in range(chance.randint(1, 3)):
            damaged[chance.randrange(len(content) - 16)] = chance.choice(
                [0, 0x22, 0x7B, 0x7D, 0x2C, chance.randrange(256)]
            )
        try:
            found = entries_of(tmp_path, bytes(damaged))
        except InvalidFile:
            continue
        assert all(0 <= entry.begin <= entry.end <= len(content) for entry in found.values())


# ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("..", "../model-00001-of-00002.safetensors", "is not the name of a safetensors file"),
        ("absolute", "/tmp/model-00001-of-00002.safetensors", "is not the name of a safetensors file"),
        ("hidden", ".safetensors", "is not the name of a safetensors file"),
        ("pickle", "pytorch_model.bin", "is not the name of a safetensors file"),
        ("newline", "model.safetensors\n", "is not the name of a safetensors file"),
        ("number", 1, "is not the name of a safetensors file"),
        ("missing", "model-00003-of-00002.safetensors", "is not in the folder"),
        ("other shard", "model-00002-of-00002.safetensors", "does not say that tensor"),
    ],
)
def test_s11_an_index_that_names_a_wrong_file_is_refused(tmp_path, name, change, reason):
    folder = write_folder(tmp_path / "m", n_shards=2)
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"][min(index["weight_map"])] = change
    write_json(path, index)
    with pytest.raises(InvalidFile) as refusal:
        open_checkpoint(folder)
    assert reason in str(refusal.value)
    assert str(tmp_path) not in str(refusal.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda index: index["weight_map"].popitem(), "does not say that tensor"),
        (
            lambda index: index["weight_map"].update(x="model-00001-of-00002.safetensors"),
            'tensor "x" is not in the file',
        ),
        (lambda index: index["metadata"].update(total_size=1), "total_size is 1"),
        (lambda index: index.pop("weight_map"), "names 0 files"),
        (lambda index: index.update(weight_map={}), "names 0 files"),
        (lambda index: index.update(weight_map=[]), '"weight_map" is [], not an object'),
    ],
)
def test_s11_an_index_that_does_not_fit_its_shards_is_refused(tmp_path, change, reason):
    folder = write_folder(tmp_path / "m", n_shards=2)
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    change(index)
    write_json(path, index)
    with pytest.raises(InvalidFile) as refusal:
        open_checkpoint(folder)
    assert str(refusal.value).startswith("invalid safetensors: model.safetensors.index.json: ")
    assert reason in str(refusal.value)


def test_s11_a_tensor_in_two_shards_is_refused(tmp_path):
    folder = write_folder(tmp_path / "m", n_shards=2)
    save_file(llama_tensors(), folder / "model-00002-of-00002.safetensors")
    with pytest.raises(InvalidFile, match="does not say that tensor"):
        open_checkpoint(folder)


def test_s12_names_that_meet_in_one_place_are_refused(tmp_path):
    experts = {
        "model.layers.0.block_sparse_moe.experts.0.w1.weight": llama_tensors()["lm_head.weight"],
        "model.layers.0.block_sparse_moe.experts.00.w1.weight": llama_tensors()["lm_head.weight"].clone(),
    }
    with pytest.raises(Exception, match=r"experts\.00\.w1"):
        open_checkpoint(write_folder(tmp_path / "m", MIXTRAL, mixtral_tensors() | experts))


def test_no_code_of_a_folder_is_run(tmp_path):
    folder = write_folder(tmp_path / "m", LLAMA | {"auto_map": {"AutoModel": "evil.Model"}, "trust_remote_code": True})
    (folder / "evil.py").write_text("raise SystemExit")
    open_checkpoint(folder).close()
