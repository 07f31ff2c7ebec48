"""GGUF files byte by byte, right or wrong: what a writer library would refuse to write, this writes.

Gguf().build()                               a tiny valid file
Gguf(version=1).build()                      the same with a wrong field
Gguf(tensors=[Tensor("a", (32,))]).build()   with tensors of one's own
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

UINT8, INT8, UINT16, INT16, UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY, UINT64, INT64, FLOAT64 = range(13)
F32, F16, I32, REMOVED = 0, 1, 26, 4
_CODES = {UINT8: "B", INT8: "b", UINT16: "H", INT16: "h", UINT32: "I", INT32: "i", FLOAT32: "f", BOOL: "B",
          UINT64: "Q", INT64: "q", FLOAT64: "d"}  # fmt: skip


def u32(value: int) -> bytes:
    return struct.pack("<I", value % 2**32)


def u64(value: int) -> bytes:
    return struct.pack("<Q", value % 2**64)


def string(text: str | bytes, length: int | None = None) -> bytes:
    """A length and the bytes; ``length`` may lie."""
    raw = text.encode() if isinstance(text, str) else text
    return u64(len(raw) if length is None else length) + raw


def scalar(kind: int, value: float) -> bytes:
    return struct.pack("<" + _CODES[kind], value)


def array(kind: int, values: list[Any], count: int | None = None) -> bytes:
    """An array's element type, count (which may lie) and elements."""
    items = [string(v) if kind == STRING else scalar(kind, v) for v in values]
    return u32(kind) + u64(len(values) if count is None else count) + b"".join(items)


@dataclass
class KeyValue:
    key: str | bytes
    kind: int
    payload: bytes  # the value as it stands in the file
    key_length: int | None = None

    def build(self) -> bytes:
        return string(self.key, self.key_length) + u32(self.kind) + self.payload


@dataclass
class Tensor:
    """``dims`` in the file's order, innermost first. ``offset`` None: where the format wants it."""

    name: str | bytes
    dims: tuple[int, ...]
    kind: int = F32
    offset: int | None = None
    n_dims: int | None = None
    n_bytes: int | None = None
    name_length: int | None = None

    def size(self) -> int:
        n = 4 if self.kind == F32 else 2
        for dim in self.dims:
            n *= dim
        return n if self.n_bytes is None else self.n_bytes


def text(key: str, value: str) -> KeyValue:
    return KeyValue(key, STRING, string(value))


def key_values() -> list[KeyValue]:
    """A few keys, with every type among them."""
    return [
        text("general.architecture", "llama"),
        KeyValue("llama.block_count", UINT32, u32(2)),
        KeyValue("test.negative", INT64, scalar(INT64, -5)),
        KeyValue("test.float", FLOAT32, scalar(FLOAT32, 0.5)),
        KeyValue("test.bool", BOOL, b"\1"),
        KeyValue("test.bools", ARRAY, array(BOOL, [1, 0, 1])),
        KeyValue("test.ints", ARRAY, array(INT32, [1, -2, 3])),
        KeyValue("test.empty", ARRAY, array(FLOAT64, [])),
        KeyValue("tokenizer.ggml.tokens", ARRAY, array(STRING, ["a", "", "ü", "🙂"])),
    ]


def two_tensors() -> list[Tensor]:
    """100 and 64 bytes: the first one needs padding."""
    return [Tensor("blk.0.attn_q.weight", (5, 5)), Tensor("output.weight", (8, 4), F16)]


@dataclass
class Gguf:
    """The parts of a file. Counts that are None are the true ones."""

    magic: bytes = b"GGUF"
    version: int = 3
    n_tensors: int | None = None
    n_key_values: int | None = None
    key_values: list[KeyValue] = field(default_factory=key_values)
    tensors: list[Tensor] = field(default_factory=two_tensors)
    alignment: int = 32
    padding: bytes | None = None
    data: bytes | None = None
    trailing: bytes = b""

    def header(self) -> bytes:
        """Everything before the padding of the data section."""
        parts = [
            self.magic,
            u32(self.version),
            u64(len(self.tensors) if self.n_tensors is None else self.n_tensors),
            u64(len(self.key_values) if self.n_key_values is None else self.n_key_values),
            *(pair.build() for pair in self.key_values),
        ]
        offset = 0
        for tensor in self.tensors:
            n_dims = len(tensor.dims) if tensor.n_dims is None else tensor.n_dims
            parts += [string(tensor.name, tensor.name_length), u32(n_dims), *map(u64, tensor.dims), u32(tensor.kind)]
            parts.append(u64(offset if tensor.offset is None else tensor.offset))
            offset = self._align(offset + tensor.size())
        return b"".join(parts)

    def build(self) -> bytes:
        header = self.header()
        padding = bytes(self._align(len(header)) - len(header)) if self.padding is None else self.padding
        return header + padding + (self._data() if self.data is None else self.data) + self.trailing

    def _data(self) -> bytes:
        data = b""
        for i, tensor in enumerate(self.tensors):
            data += bytes(self._align(len(data)) - len(data)) + bytes([i + 1]) * min(tensor.size(), 1 << 20)
        return data

    def _align(self, n: int) -> int:
        return -(-n // self.alignment) * self.alignment if self.alignment else n
