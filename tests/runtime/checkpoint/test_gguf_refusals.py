"""One malformation of a GGUF file per case, G1 to G35: each is refused, and the part is named."""

import tracemalloc

import pytest
from support import gguf_builder as b
from support.gguf_builder import Gguf, KeyValue, Tensor

from gristmill.runtime.checkpoint import open_checkpoint
from gristmill.runtime.checkpoint.gguf import parse_header
from gristmill.runtime.errors import InvalidFile

HUGE = (2**64 - 1, 2**31, 2**32, 2**63)
N_BYTES = len(Gguf().build())


def keys(*pairs: KeyValue) -> Gguf:
    return Gguf(key_values=list(pairs))


def tensors(*rows: Tensor, **fields) -> Gguf:
    return Gguf(tensors=list(rows), **fields)


def with_key(kind: int, payload: bytes) -> Gguf:
    return keys(*b.key_values(), KeyValue("k", kind, payload))


def with_alignment(kind: int, payload: bytes) -> Gguf:
    return keys(*b.key_values(), KeyValue("general.alignment", kind, payload))


def nested_array(depth: int) -> bytes:
    return (b.u32(b.ARRAY) + b.u64(1)) * depth + b.array(b.UINT8, [1])


def cut_by(n: int) -> bytes:
    return Gguf().build()[:-n]


A = Tensor("a", (8,))  # 32 bytes, no padding

CASES: list[tuple[str, Gguf | bytes, str]] = [
    ("G1 empty", b"", "magic"),
    ("G1 after magic", b"GGUF", "version"),
    ("G1 after version", b"GGUF" + b.u32(3), "tensor count"),
    ("G1 after a count", b"GGUF" + b.u32(3) + b.u64(0), "key-value count"),
    ("G2 wrong", Gguf(magic=b"GGML"), "magic"),
    ("G2 lower case", Gguf(magic=b"gguf"), "magic"),
    ("G2 at an offset", b"\0" + Gguf().build(), "magic"),
    ("G2 a zip archive", b"PK\3\4" + bytes(64), "magic"),
    *((f"G3 {v}", Gguf(version=v), "version") for v in (0, 1, 4, 2**31, 2**32 - 1)),
    ("G4 big-endian", Gguf(version=0x03000000), "version: the byte order is big-endian"),
    *((f"G5 {n}", Gguf(n_key_values=n), "key-value count") for n in HUGE),
    *((f"G6 {n}", Gguf(n_tensors=n), "tensor count") for n in HUGE),
    *((f"G7 {n}", keys(KeyValue("k", b.UINT8, b"\0", n)), "key 0") for n in (0, 2**16, *HUGE, N_BYTES)),
    ("G8 not UTF-8", keys(KeyValue(b"k\xff", b.UINT8, b"\0")), "key 0"),
    ("G8 NUL", keys(KeyValue("k\0", b.UINT8, b"\0")), "key 0"),
    ("G8 newline", keys(KeyValue("k\nk", b.UINT8, b"\0")), "key 0"),
    ("G8 64 KiB", keys(KeyValue("k" * 65_536, b.UINT8, b"\0")), "key 0"),
    ("G9 same type", keys(b.text("k", "a"), b.text("k", "b")), 'key "k"'),
    ("G9 other type", keys(b.text("k", "a"), KeyValue("k", b.UINT8, b"\0")), 'key "k"'),
    *((f"G10 {t}", with_key(t, bytes(8)), 'key "k"') for t in (13, 255, 2**31, -1)),
    *((f"G11 {n} deep", with_key(b.ARRAY, nested_array(n)), 'key "k"') for n in (1, 2, 100_000)),
    ("G12 element type", with_key(b.ARRAY, b.u32(13) + b.u64(1) + bytes(8)), 'key "k"'),
    *(
        (f"G12 {n} of type {t}", with_key(b.ARRAY, b.array(t, [], n)), 'key "k"')
        for t in (b.UINT8, b.UINT64, b.STRING)
        for n in (N_BYTES, 2**32, 2**61, 2**62 + 1, 2**64 - 1)
    ),
    ("G13 string", keys(KeyValue("k", b.STRING, b.string("abc", 400))), 'key "k"'),
    ("G14 scalar", with_key(b.BOOL, b"\2"), 'key "k"'),
    ("G14 array", with_key(b.ARRAY, b.array(b.BOOL, [1, 255])), 'key "k"'),
    *(
        (f"G17 {n}", with_alignment(b.UINT32, b.u32(n)), 'key "general.alignment"')
        for n in (0, 1, 7, 33, 2**17, 2**31, 2**32 - 1)
    ),
    ("G17 i32", with_alignment(b.INT32, b.u32(32)), 'key "general.alignment"'),
    ("G17 u64", with_alignment(b.UINT64, b.u64(32)), 'key "general.alignment"'),
    ("G17 string", with_alignment(b.STRING, b.string("32")), 'key "general.alignment"'),
    ("G17 array", with_alignment(b.ARRAY, b.array(b.UINT32, [32])), 'key "general.alignment"'),
    ("G18 missing", Gguf(padding=b"", data=b""), "padding"),
    ("G19 version 1", Gguf(version=1, key_values=[KeyValue("k", b.STRING, b.u32(0))]), "version"),
    *((f"G20 length {n}", tensors(Tensor("a", (8,), name_length=n)), "tensor 0") for n in (0, 64, 2**63)),
    ("G20 64 bytes", tensors(Tensor("a" * 64, (8,))), "tensor 0"),
    ("G20 NUL", tensors(Tensor("a\0", (8,))), "tensor 0"),
    ("G20 newline", tensors(Tensor("a\n", (8,))), "tensor 0"),
    ("G20 not UTF-8", tensors(Tensor(b"\xff", (8,))), "tensor 0"),
    ("G21", tensors(A, A), 'tensor "a"'),
    *((f"G22 {n}", tensors(Tensor("a", (1,), n_dims=n)), 'tensor "a"') for n in (5, 2**31, 2**32 - 1)),
    *((f"G24 {n}", tensors(Tensor("a", (n,), n_bytes=32)), 'tensor "a"') for n in (2**63, 2**64 - 1)),
    ("G24 beside a zero", tensors(Tensor("a", (2**63, 0), n_bytes=0)), 'tensor "a"'),
    ("G25 to zero", tensors(Tensor("a", (2**32, 2**32), n_bytes=32)), 'tensor "a"'),
    ("G25 to a small number", tensors(Tensor("a", (2**32, 2**32 + 1), n_bytes=32)), 'tensor "a"'),
    ("G25 to the size", tensors(Tensor("a", (2**61 + 1, 8), n_bytes=32)), 'tensor "a"'),
    ("G26 times the type", tensors(Tensor("a", (2**62 + 8,), n_bytes=32)), 'tensor "a"'),
    ("G26 plus alignment", tensors(Tensor("a", (2**62 - 1,), n_bytes=32)), 'tensor "a"'),
    ("G27", tensors(*(Tensor(f"t{i}", (2**59,), n_bytes=2**61) for i in range(8))), 'tensor "t0"'),
    *(
        (f"G28 {t}", tensors(Tensor("a", (8,), t, n_bytes=32)), f'tensor "a": type {t % 2**32}')
        for t in (b.REMOVED, 9, 36, 1000, -1)
    ),
    *((f"G30 at {n}", tensors(Tensor("a", (8,), offset=n)), 'tensor "a"') for n in (2**20, 2**64 - 32, 2**63)),
    ("G30 end past by one", tensors(A, Tensor("b", (9,)), data=bytes(67)), 'tensor "b"'),
    ("G31", tensors(A, Tensor("b", (8,), offset=36)), 'tensor "b"'),
    ("G32 shared", tensors(A, Tensor("b", (8,), offset=0)), 'tensor "b"'),
    ("G32 overlap", tensors(Tensor("a", (16,)), Tensor("b", (8,), offset=32)), 'tensor "b"'),
    ("G32 hole", tensors(A, Tensor("b", (8,), offset=64), data=bytes(128)), 'tensor "b"'),
    ("G33 one byte short", cut_by(1), 'tensor "output.weight"'),
    ("G33 half", cut_by(96), 'tensor "blk.0.attn_q.weight"'),
    ("G33 whole", Gguf(data=b""), 'tensor "blk.0.attn_q.weight"'),
    (
        "G35 experts",
        tensors(Tensor("blk.0.ffn_up.1.weight", (8,)), Tensor("blk.0.ffn_up_exps.weight", (8,))),
        'tensor "blk.0.ffn_up.1.weight"',
    ),
    (
        "G35 fused",
        tensors(Tensor("blk.0.attn_qkv.weight", (8,)), Tensor("blk.0.attn_q.weight", (8,))),
        'tensor "blk.0.attn_q.weight"',
    ),
]


def build(case: Gguf | bytes) -> bytes:
    return case if isinstance(case, bytes) else case.build()


@pytest.mark.parametrize(("case", "part"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_malformed_file_is_refused_and_the_part_is_named(case, part, tmp_path):
    file = tmp_path / "model.gguf"
    file.write_bytes(build(case))
    with pytest.raises(InvalidFile) as refusal:
        open_checkpoint(file)
    message = str(refusal.value)
    assert message.startswith("invalid gguf: ")
    assert part in message
    assert str(tmp_path) not in message


@pytest.mark.parametrize("n_bytes", range(24))
def test_g1_every_file_too_short_for_its_counts_is_refused(n_bytes):
    with pytest.raises(InvalidFile):
        parse_header(memoryview(Gguf().build()[:n_bytes]))


def test_g13_a_string_array_whose_last_entry_is_cut_is_refused():
    header = Gguf(key_values=[KeyValue("k", b.ARRAY, b.array(b.STRING, ["abc", "defg"]))], tensors=[]).header()
    end = header.index(b"defg")
    for n in (end - 8, end - 1, end, end + 3):
        with pytest.raises(InvalidFile, match='invalid gguf: key "k": '):
            parse_header(memoryview(header[:n]))


def test_g29_a_row_that_is_no_whole_number_of_blocks_is_refused():
    from gristmill.kernels.formats import FORMATS

    blocked = next((f for f in FORMATS.values() if f.ggml_id is not None and f.block_elems > 1), None)
    if blocked is None:
        pytest.skip("no format with blocks is there")
    row = Tensor("a", (blocked.block_elems + 1,), blocked.ggml_id, n_bytes=blocked.block_bytes)
    with pytest.raises(InvalidFile, match='invalid gguf: tensor "a": a row of'):
        parse_header(memoryview(tensors(row).build()))


def test_refusing_allocates_next_to_nothing():
    tracemalloc.start()
    for _, case, part in CASES:
        if "deep" not in part:
            with pytest.raises(InvalidFile):
                parse_header(memoryview(build(case)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 << 20
