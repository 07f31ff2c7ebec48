"""The key-value part of a GGUF file, and the cursor that reads it.

Every length is compared with the bytes left before it is used; nothing recurses; Python's integers cannot wrap.
Knows what a value looks like, and of keys only those that limit or shape the reading itself.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

from array import array
from struct import Struct

from ..errors import InvalidFile, cut
from .arrays import NumberArray, StringArray
from .base import Value
from .limits import Limits

__all__ = ["SCALARS", "Cursor", "malformed", "read_metadata"]

_U32, _U64 = Struct("<I"), Struct("<Q")
_UINT32, _BOOL, _STRING, _ARRAY = 4, 7, 8, 9
# Type number in the file: code of the struct module. The string and the array are apart.
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRUCTS = {number: Struct("<" + code) for number, code in SCALARS.items()}
_MIN_KEY_VALUE_BYTES = 8 + 1 + 4 + 1  # key length, key, type, value


def malformed(part: str, reason: str) -> InvalidFile:
    """The error for a file that breaks the format."""
    return InvalidFile(f"invalid gguf: {part}: {reason}")


class Cursor:
    """A position in the bytes of a file. Reading past the end raises InvalidFile with the part that was cut off."""

    def __init__(self, data: memoryview):
        self.data = data
        self.position = 0

    @property
    def n_left(self) -> int:
        return len(self.data) - self.position

    def advance(self, n_bytes: int, part: str) -> int:
        """Step over ``n_bytes`` and return where they start."""
        if n_bytes > self.n_left:
            raise malformed(part, f"the file ends inside it ({n_bytes} bytes needed, {self.n_left} left)")
        start = self.position
        self.position += n_bytes
        return start

    def u32(self, part: str) -> int:
        return int(_U32.unpack_from(self.data, self.advance(4, part))[0])

    def u64(self, part: str) -> int:
        return int(_U64.unpack_from(self.data, self.advance(8, part))[0])

    def count(self, part: str, limit: int, min_bytes: int) -> int:
        """A 64-bit count of things of at least ``min_bytes`` each, all of which must fit into the rest of the file."""
        n = self.u64(part)
        if n > limit:
            raise malformed(part, f"{n} is over the limit of {limit}")
        if n * min_bytes > self.n_left:
            raise malformed(part, f"{n} do not fit into the {self.n_left} bytes left in the file")
        return n

    def take(self, n_bytes: int, part: str) -> bytes:
        start = self.advance(n_bytes, part)
        return bytes(self.data[start : self.position])

    def name(self, part: str, limit: int) -> str:
        """A key or a tensor's name: 1 to ``limit`` bytes of printable UTF-8."""
        length = self.u64(part)
        if not 1 <= length <= limit:
            raise malformed(part, f"a name of {length} bytes, not 1 to {limit}")
        raw = self.take(length, part)
        try:
            name = raw.decode()
        except UnicodeDecodeError:
            raise malformed(part, f"the name {cut(raw.decode('latin-1'))} is not UTF-8") from None
        if not name.isprintable():
            raise malformed(part, f"the name {cut(name)} holds unprintable characters")
        return name


def read_metadata(cursor: Cursor, n_key_values: int, limits: Limits) -> tuple[dict[str, Value], dict[str, int]]:
    """``n_key_values`` keys with their values, and the type numbers of the scalars among them.

    Arrays come as ``NumberArray`` and ``StringArray``, which know their types.

    Raises InvalidFile, naming the key: for a key that is empty, too long, unprintable or there twice, for an unknown
    type, a nested array, a bool other than 0 and 1, and for anything over a limit or past the end of the file.
    """
    metadata: dict[str, Value] = {}
    scalar_types: dict[str, int] = {}
    for i in range(n_key_values):
        key = cursor.name(f"key {i}", limits.key_bytes)
        part = f"key {cut(key)}"
        if key in metadata:
            raise malformed(part, "is there twice")
        type_number = cursor.u32(part)
        if key == "general.alignment" and type_number != _UINT32:
            raise malformed(part, f"has type {type_number}, not uint32 ({_UINT32})")
        metadata[key] = _read_value(cursor, type_number, part, limits)
        if type_number in SCALARS:
            scalar_types[key] = type_number
    return metadata, scalar_types


def check_key_value_count(cursor: Cursor, limits: Limits) -> int:
    """The count of key-value pairs, which the file has room for."""
    return cursor.count("key-value count", limits.n_key_values, _MIN_KEY_VALUE_BYTES)


def _read_value(cursor: Cursor, type_number: int, part: str, limits: Limits) -> Value:
    if type_number == _STRING:
        length = cursor.u64(part)
        if length > limits.string_bytes:
            raise malformed(part, f"a string of {length} bytes is over the limit of {limits.string_bytes}")
        return cursor.take(length, part).decode("utf-8", "replace")
    if type_number == _ARRAY:
        return _read_array(cursor, part, limits)
    if type_number not in SCALARS:
        raise malformed(part, f"unknown value type {type_number}")
    layout = _STRUCTS[type_number]
    start = cursor.advance(layout.size, part)
    if type_number == _BOOL and cursor.data[start] > 1:
        raise malformed(part, f"a bool is {cursor.data[start]}, not 0 or 1")
    value: int | float | bool = layout.unpack_from(cursor.data, start)[0]
    return value


def _read_array(cursor: Cursor, part: str, limits: Limits) -> Value:
    type_number = cursor.u32(part)
    if type_number == _ARRAY:
        raise malformed(part, "arrays of arrays are not supported")
    if type_number == _STRING:
        is_vocabulary = part == 'key "tokenizer.ggml.tokens"'
        n = cursor.count(part, limits.n_vocab if is_vocabulary else limits.n_array_elems, 8)
        return _read_strings(cursor, n, part, limits.token_bytes if is_vocabulary else limits.string_bytes)
    if type_number not in SCALARS:
        raise malformed(part, f"unknown element type {type_number}")
    size = _STRUCTS[type_number].size
    n = cursor.count(part, limits.n_array_elems, size)
    data = cursor.take(n * size, part)
    if type_number == _BOOL and data.translate(None, b"\0\1"):
        raise malformed(part, "a bool is neither 0 nor 1")
    return NumberArray(SCALARS[type_number], data)


def _read_strings(cursor: Cursor, n: int, part: str, max_bytes: int) -> StringArray:
    """Only finds where each string ends. This loop is most of the time that a header takes."""
    data = cursor.data[cursor.position :]
    ends = array("Q")
    length_at, append, end, last = _U64.unpack_from, ends.append, 0, len(data) - 8
    for _ in range(n):
        if end > last:
            raise malformed(part, f"the file ends inside string {len(ends)}")
        (length,) = length_at(data, end)
        if length > max_bytes:
            raise malformed(part, f"string {len(ends)} has {length} bytes, the limit is {max_bytes}")
        end += 8 + length
        append(end)
    if end > len(data):
        raise malformed(part, f"the file ends inside string {n - 1}")
    return StringArray(cursor.take(end, part), ends)
