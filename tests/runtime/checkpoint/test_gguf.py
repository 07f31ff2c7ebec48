"""What a GGUF file says is what the reader gives."""

import array
import os
import random
import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import gguf_builder as b
from support.gguf_builder import Gguf, KeyValue, Tensor

from gristmill.runtime.checkpoint import Limits, open_checkpoint, read_gguf_header, read_metadata
from gristmill.runtime.checkpoint.gguf import parse_header
from gristmill.runtime.errors import InvalidFile, UnsupportedModel


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "model.gguf"
    file.write_bytes(Gguf().build())
    return file


def test_metadata_of_every_type_is_read(path):
    metadata = read_gguf_header(path).metadata
    assert metadata["general.architecture"] == "llama"
    assert metadata["llama.block_count"] == 2
    assert metadata["test.negative"] == -5
    assert metadata["test.float"] == 0.5
    assert metadata["test.bool"] is True
    assert metadata["test.bools"] == [True, False, True]
    assert metadata["test.ints"] == [1, -2, 3]
    assert metadata["test.empty"] == []
    assert metadata["tokenizer.ggml.tokens"] == ["a", "", "ü", "🙂"]
    assert read_metadata(path) == metadata


@pytest.mark.parametrize("kind", [k for k in range(13) if k not in (b.STRING, b.ARRAY, b.BOOL)])
def test_numbers_are_read_at_the_ends_of_their_range(kind):
    code = b._CODES[kind]
    size = struct.calcsize("<" + code)
    if code in "fd":
        values = [0.0, -1.5, float("inf")]
    elif code.isupper():
        values = [0, 1, 256**size - 1]
    else:
        values = [-(256**size) // 2, -1, 256**size // 2 - 1]
    keys = [KeyValue("array", b.ARRAY, b.array(kind, values))]
    keys += [KeyValue(f"scalar.{i}", kind, b.scalar(kind, v)) for i, v in enumerate(values)]
    metadata = parse_header(memoryview(Gguf(key_values=keys).build())).metadata
    assert metadata["array"] == values
    assert [metadata[f"scalar.{i}"] for i in range(3)] == values


def test_version_2_is_read(path):
    path.write_bytes(Gguf(version=2).build())
    assert read_gguf_header(path).version == 2


def test_shapes_are_in_torch_order_and_bytes_are_where_the_table_says(path):
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.kind == "gguf"
        assert list(checkpoint.tensors) == ["blk.0.attn_q.weight", "output.weight"]
        info = checkpoint.tensors["output.weight"]
        assert (info.shape, info.byte_shape, info.format.name, info.n_bytes) == ((4, 8), (4, 16), "F16", 64)
        assert info.offset % 32 == 0
        assert bytes(checkpoint.raw("output.weight")) == b"\2" * 64
        tensor = checkpoint.tensor("output.weight")
        assert (tensor.shape, tensor.numpy().tobytes()) == ((4, 16), b"\2" * 64)
        with pytest.raises(KeyError):
            checkpoint.tensor("output.bias")


def test_tensors_share_the_mapped_file_and_outlive_close(path):
    checkpoint = open_checkpoint(path)
    first, again = checkpoint.tensor("output.weight"), checkpoint.tensor("output.weight")
    raw = checkpoint.raw("blk.0.attn_q.weight")
    assert first.data_ptr() == again.data_ptr()
    checkpoint.close()
    checkpoint.close()
    assert bytes(raw) == b"\1" * 100
    del raw
    assert first.sum() == 128
    for read in (checkpoint.raw, checkpoint.tensor):
        with pytest.raises(ValueError, match="closed"):
            read("output.weight")


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="needs the list of mappings")
def test_the_mapping_goes_with_the_last_tensor(path):
    def is_mapped():
        with open("/proc/self/maps") as maps:
            return str(path) in maps.read()

    checkpoint = open_checkpoint(path)
    tensor = checkpoint.tensor("output.weight")
    checkpoint.close()
    assert is_mapped()
    del tensor
    assert not is_mapped()


def test_arrays_are_read_only_sequences(path):
    tokens = read_gguf_header(path).metadata["tokenizer.ggml.tokens"]
    assert (len(tokens), tokens[-1], tokens[1:3], tokens.tolist()) == (4, "🙂", ["", "ü"], ["a", "", "ü", "🙂"])
    assert tokens.raw(2) == "ü".encode()
    assert "🙂" in tokens
    assert tokens != ["a"]
    assert tokens != "a"
    with pytest.raises(IndexError):
        tokens[4]
    with pytest.raises(IndexError):
        tokens.raw(-1)
    ints = read_gguf_header(path).metadata["test.ints"]
    assert (ints[-1], ints[:2], ints.tolist(), array.array("i", ints.values).tolist()) == (
        3,
        [1, -2],
        [1, -2, 3],
        [1, -2, 3],
    )
    assert repr(ints) == "[1, -2, 3]"


def test_text_that_is_not_utf8_reads_as_replacement_characters_and_keeps_its_bytes():
    keys = [
        KeyValue("a", b.STRING, b.string(b"x\xff")),
        KeyValue("b", b.ARRAY, b.u32(b.STRING) + b.u64(1) + b.string(b"\xc3")),
    ]
    metadata = parse_header(memoryview(Gguf(key_values=keys).build())).metadata
    assert metadata["a"] == "x�"
    assert metadata["b"][0] == "�"
    assert metadata["b"].raw(0) == b"\xc3"


def test_bytes_behind_the_last_tensor_are_ignored(path):
    path.write_bytes(Gguf(trailing=b"more").build())
    assert len(read_gguf_header(path).tensors) == 2


def test_a_file_of_only_a_vocabulary_needs_no_data_section(path):
    path.write_bytes(Gguf(tensors=[], padding=b"").build())
    with open_checkpoint(path) as checkpoint:
        assert not checkpoint.tensors


def test_empty_tensors_and_scalars_and_integers_are_read(path):
    path.write_bytes(Gguf(tensors=[Tensor("a", (0, 3)), Tensor("b", ()), Tensor("c", (3,), b.I32, n_bytes=12)]).build())
    with open_checkpoint(path) as checkpoint:
        assert [info.shape for info in checkpoint.tensors.values()] == [(3, 0), (1,), (3,)]
        assert checkpoint.tensor("a").shape == (3, 0)
        assert checkpoint.tensor("b").shape == (4,)
        assert checkpoint.tensor("c").numpy().tobytes() == b"\3" * 12
        sevens = torch.tensor([7, 0, 0, 0] * 3, dtype=torch.uint8)
        assert checkpoint.tensors["c"].format.decode(sevens).tolist() == [7, 7, 7]


def test_the_files_alignment_is_used(path):
    alignment = KeyValue("general.alignment", b.UINT32, b.u32(64))
    path.write_bytes(Gguf(key_values=[*b.key_values(), alignment], alignment=64).build())
    offsets = [info.offset for info in read_gguf_header(path).tensors.values()]
    assert [offset % 64 for offset in offsets] == [0, 0]
    assert offsets[1] - offsets[0] == 128


def test_one_part_of_several_is_refused(path):
    path.write_bytes(Gguf(key_values=[KeyValue("split.count", b.UINT16, b.scalar(b.UINT16, 3))]).build())
    with pytest.raises(UnsupportedModel, match=r'"split.count": the file is one of 3 parts'):
        open_checkpoint(path)


@pytest.mark.parametrize(
    ("limits", "part"),
    [
        ({"n_key_values": 8}, "key-value count"),
        ({"n_tensors": 1}, "tensor count"),
        ({"key_bytes": 20}, "key 8"),
        ({"string_bytes": 4}, 'key "general.architecture"'),
        ({"n_array_elems": 2}, 'key "test.bools"'),
        ({"n_vocab": 3}, 'key "tokenizer.ggml.tokens"'),
        ({"token_bytes": 3}, 'key "tokenizer.ggml.tokens"'),
        ({"n_dims": 1}, 'tensor "blk.0.attn_q.weight"'),
        ({"tensor_name_bytes": 18}, "tensor 0"),
    ],
)
def test_each_limit_holds_at_the_limit_and_not_one_below(limits, part):
    data = memoryview(Gguf().build())
    ((name, value),) = limits.items()
    parse_header(data, Limits(**{name: value + 1}))
    with pytest.raises(InvalidFile) as refusal:
        parse_header(data, Limits(**limits))
    assert str(refusal.value).startswith(f"invalid gguf: {part}: ")


def test_what_is_no_regular_file_is_refused_without_its_folder(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "missing.gguf"):
        with pytest.raises(InvalidFile) as refusal:
            open_checkpoint(tmp_path / name)
        assert name in str(refusal.value)
        assert str(tmp_path) not in str(refusal.value)


def accept_or_refuse(data: bytes) -> None:
    """The oracle for damaged files: our error, or a header all of whose bytes are there."""
    try:
        header = parse_header(memoryview(data))
    except InvalidFile as error:
        message = str(error)
        assert message.startswith("invalid gguf: ")
        assert message.isascii()
        assert "\n" not in message
        assert len(message) < 512
        return
    for info in header.tensors.values():
        assert 0 <= info.offset <= info.offset + info.n_bytes <= len(data)
    for value in header.metadata.values():
        repr(value)


def test_every_prefix_is_refused():
    data = Gguf().build()
    for n in range(len(data)):
        with pytest.raises(InvalidFile, match="invalid gguf: "):
            parse_header(memoryview(data[:n]))


def test_every_flipped_bit_is_refused_or_leaves_a_usable_file():
    data = Gguf().build()
    for i in range(len(Gguf().header()) * 8):
        damaged = bytearray(data)
        damaged[i // 8] ^= 1 << i % 8
        accept_or_refuse(bytes(damaged))


def test_many_random_changes_at_once_are_refused_or_leave_a_usable_file():
    data, chance = Gguf().build(), random.Random(1)
    for _ in range(2000):
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(Gguf().header()))] = chance.choice(
                [0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)]
            )
        accept_or_refuse(bytes(damaged))


near = st.sampled_from([0, 1, 31, 32, 33, 2**16, 2**31, 2**32, 2**61, 2**62, 2**63, 2**64]).flatmap(
    lambda n: st.integers(n - 1, n + 1).map(lambda m: m % 2**64)
)


@settings(max_examples=300, deadline=None)
@given(near, near, st.lists(near, max_size=5), near, near, near)
def test_hostile_sizes_are_refused_or_leave_a_usable_file(n_tensors, n_key_values, dims, offset, kind, length):
    tensors = [
        Tensor("a", tuple(dims), kind % 64, offset, n_bytes=64),
        Tensor("b", (8,), offset=None, name_length=length),
    ]
    accept_or_refuse(Gguf(tensors=tensors).build())
    accept_or_refuse(Gguf(n_tensors=n_tensors).build())
    accept_or_refuse(Gguf(n_key_values=n_key_values).build())
    accept_or_refuse(Gguf(key_values=[KeyValue("a", b.ARRAY, b.array(kind % 16 % 8, [1], length))]).build())
    accept_or_refuse(Gguf(key_values=[KeyValue("a", b.STRING, b.string("abc", length))]).build())
