"""What is written is read back as it was, by us and by the ``gguf`` package."""

import io
import struct

import gguf
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import gguf_builder as b
from support.gguf_builder import Gguf, KeyValue
from support.models import smollm2_path

from gristmill.kernels import FORMATS
from gristmill.runtime.checkpoint import open_checkpoint, read_gguf_header
from gristmill.runtime.checkpoint.gguf import parse_header
from gristmill.runtime.checkpoint.gguf_metadata import SCALARS
from gristmill.runtime.checkpoint.gguf_writer import TensorPlan, gguf_header, write_gguf
from gristmill.runtime.errors import UnsupportedModel

EXTREMES = {"f": (0.0, -1.5, float("inf")), "d": (0.0, 1e300, 0.1), "?": (False, True)}


def extremes(code):
    size = struct.calcsize("<" + code)
    ints = (0, 1, 256**size - 1) if code.isupper() else (-(256**size) // 2, -1, 256**size // 2 - 1)
    return EXTREMES.get(code, ints)


def every_type():
    """A scalar and an array of each type, with the ends of its range."""
    pairs = [b.text("general.name", "Mühle 🌾"), b.text("empty", "")]
    for kind, code in SCALARS.items():
        pairs.append(KeyValue(f"array.{kind}", b.ARRAY, b.array(kind, list(extremes(code)))))
        pairs += [KeyValue(f"scalar.{kind}.{i}", kind, b.scalar(kind, v)) for i, v in enumerate(extremes(code))]
    strings = KeyValue("tokenizer.ggml.tokens", b.ARRAY, b.array(b.STRING, ["a", "", "ü", b"\xff\xfe"]))
    return [*pairs, strings, KeyValue("none", b.ARRAY, b.array(b.INT16, []))]


def written(metadata, tensors=(), data=lambda plan: [bytes(plan.n_bytes)], **types):
    file = io.BytesIO()
    size = write_gguf(file, metadata, list(tensors), data, **types)
    assert size == len(file.getvalue())
    return file.getvalue()


@pytest.mark.parametrize("alignment", [32, 64])
def test_a_file_written_again_has_the_same_bytes(tmp_path, alignment):
    pairs = [*every_type(), KeyValue("general.alignment", b.UINT32, b.u32(alignment))]
    file = tmp_path / "model.gguf"
    source = Gguf(key_values=pairs, alignment=alignment).build()
    file.write_bytes(source)
    with open_checkpoint(file) as checkpoint:
        plans = [TensorPlan.of(info) for info in checkpoint.tensors.values()]
        again = written(
            checkpoint.metadata, plans, lambda plan: [checkpoint.raw(plan.name)], scalar_types=checkpoint.scalar_types
        )
    assert again == source + bytes(-len(source) % alignment)


def test_a_real_model_written_again_has_the_same_bytes(tmp_path):
    path = smollm2_path()
    with open_checkpoint(path) as checkpoint:
        plans = [TensorPlan.of(info) for info in checkpoint.tensors.values()]
        header = gguf_header(checkpoint.metadata, plans, scalar_types=checkpoint.scalar_types)
        first = next(iter(checkpoint.tensors.values()))
        with open(path, "rb") as file:
            assert file.read(first.offset) == header


def test_the_oracle_reads_what_is_written(tmp_path):
    metadata = {"general.architecture": "llama", "llama.block_count": 1, "tokenizer.ggml.tokens": ["a", "ü"]}
    values = np.arange(64, dtype=np.float32).reshape(2, 32)
    encoded = FORMATS["Q8_0"].encode(torch.from_numpy(values)).numpy()
    plans = [TensorPlan("a.weight", FORMATS["F32"], (2, 32)), TensorPlan("b.weight", FORMATS["Q8_0"], (2, 32))]
    pieces = {"a.weight": [row.tobytes() for row in values], "b.weight": [memoryview(encoded)]}
    path = tmp_path / "m.gguf"
    path.write_bytes(written(metadata, plans, lambda plan: pieces[plan.name]))
    reader = gguf.GGUFReader(path)
    assert [t.name for t in reader.tensors] == ["a.weight", "b.weight"]
    assert np.array_equal(reader.tensors[0].data, values)
    assert np.array_equal(reader.tensors[1].data, encoded)
    assert reader.fields["tokenizer.ggml.tokens"].contents() == ["a", "ü"]


# What llama.cpp expects of these keys; and by value, where no table knows the key.
TYPES = [
    ("general.file_type", 15, b.UINT32),
    ("general.parameter_count", 7, b.UINT64),
    ("split.count", 3, b.UINT16),
    ("split.tensors.count", 3, b.INT32),
    ("llama.rope.freq_base", 10000, b.FLOAT32),
    ("llama.attention.layer_norm_rms_epsilon", 1e-5, b.FLOAT32),
    ("gemma2.final_logit_softcapping", 30, b.FLOAT32),
    ("llama.block_count", 7, b.UINT32),
    ("tokenizer.ggml.bos_token_id", 1, b.UINT32),
    ("tokenizer.ggml.add_bos_token", True, b.BOOL),
    ("tokenizer.ggml.scores", [0, -1, 2.5], b.FLOAT32),
    ("tokenizer.ggml.scores", [0, -1], b.FLOAT32),
    ("tokenizer.ggml.merges", [], b.STRING),
    ("x.negative", -1, b.INT32),
    ("x.large", 2**32, b.UINT64),
    ("x.low", -(2**40), b.INT64),
    ("x.float", 0.1, b.FLOAT32),
    ("x.flags", [True, False], b.BOOL),
    ("x.ints", [1, -1], b.INT32),
    ("x.unsigned", [1, 2**32 - 1], b.UINT32),
    ("x.wide", [-1, 2**32], b.INT64),
    ("x.widest", [1, 2**64 - 1], b.UINT64),
]


@pytest.mark.parametrize(("key", "value", "number"), TYPES)
def test_a_key_gets_the_type_that_readers_expect(tmp_path, key, value, number):
    path = tmp_path / "m.gguf"
    path.write_bytes(written({"general.architecture": "llama", key: value}))
    field = gguf.GGUFReader(path).fields[key]
    # The oracle finds no type for the elements of an empty array of strings, because it looks at the first of them.
    assert int(field.types[-1]) == (number if value != [] else b.ARRAY)
    assert read_gguf_header(path).metadata[key] == (np.float32(value) if isinstance(value, float) else value)


def test_a_changed_value_that_its_old_type_cannot_hold_gets_one_that_can():
    old = {"a": b.UINT16, "b": b.UINT8, "c": b.FLOAT64}
    header = parse_header(memoryview(written({"a": 65_536, "b": -3, "c": 0.1}, scalar_types=old)))
    assert header.metadata == {"a": 65_536, "b": -3, "c": 0.1}
    assert header.scalar_types == {"a": b.UINT32, "b": b.INT32, "c": b.FLOAT64}


keys = st.text("abc._é", min_size=1, max_size=20)
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(width=32, allow_nan=False) | st.booleans()
ints = st.lists(st.integers(-(2**63), 2**63 - 1)) | st.lists(st.integers(0, 2**64 - 1))
lists = st.lists(st.text()) | ints | st.lists(st.booleans()) | st.lists(st.floats(width=32, allow_nan=False))


@given(st.dictionaries(keys, numbers | st.text() | lists, max_size=6))
def test_any_metadata_comes_back(metadata):
    assert parse_header(memoryview(written(metadata))).metadata == metadata


REFUSED = [
    ({"a": 2**64}, [], 'key "a": GGUF has no type for the value 18446744073709551616'),
    ({"a": [1, "b"]}, [], 'key "a": GGUF has no type for the value'),
    ({"a": [[1]]}, [], 'key "a": GGUF has no type for the value'),
    ({"a": None}, [], 'key "a": GGUF has no type for the value None'),
    ({"a": 1e300}, [], 'key "a": GGUF has no type for the value 1e[+]300'),
    ({"general.alignment": 24}, [], 'key "general.alignment": 24 is not a power of two'),
    ({}, [("", "F32", (1,))], 'tensor "": a name has 1 to 63 bytes, not 0'),
    ({}, [("x" * 64, "F32", (1,))], 'tensor "x+": a name has 1 to 63 bytes, not 64'),
    ({}, [("x", "F32", (1,)), ("x", "F32", (1,))], 'tensor "x": is there twice'),
    ({}, [("x", "F32", (1,) * 5)], 'tensor "x": GGUF has 1 to 4 dimensions, not 5'),
    ({}, [("x", "F8_E4M3", (1,))], 'tensor "x": GGUF does not know the format F8_E4M3'),
    ({}, [("x", "Q4_0", (2, 33))], 'tensor "x": a row of 33 is not whole Q4_0 blocks of 32'),
]


@pytest.mark.parametrize(("metadata", "rows", "reason"), REFUSED)
def test_what_gguf_cannot_hold_is_refused_before_anything_is_written(metadata, rows, reason):
    file = io.BytesIO()
    plans = [TensorPlan(name, FORMATS[format], shape) for name, format, shape in rows]
    with pytest.raises(UnsupportedModel, match=reason):
        write_gguf(file, metadata, plans, lambda plan: [])
    assert not file.getvalue()


@pytest.mark.parametrize("pieces", [[], [b"abc"], [b"abcd", b"e"]])
def test_a_tensor_of_another_size_than_planned_is_an_error(pieces):
    with pytest.raises(ValueError, match=r'tensor "x": .* bytes or more came, 4 are planned'):
        written({}, [TensorPlan("x", FORMATS["F32"], (1,))], lambda plan: pieces)
