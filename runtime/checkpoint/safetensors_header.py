"""The header of a safetensors file, read strictly: one JSON object that says which bytes are which tensor.

The object is read entry by entry, so that a hostile header is refused at its first wrong entry. Knows nothing of
what the tensors mean, nor of the files next to this one.
Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from json import JSONDecoder
from typing import Any

from ..errors import InvalidFile, cut
from .limits import Limits
from .mapped import MappedFile
from .strict_json import parse

__all__ = ["Entry", "malformed", "read_entries"]

_MAX_INT64 = 2**63 - 1
_SPACE = re.compile(r"[ \t\n\r]*")
_DTYPE_BITS = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip


def malformed(part: str, reason: str) -> InvalidFile:
    """The error for a folder or a file that breaks the format."""
    return InvalidFile(f"invalid safetensors: {part}: {reason}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor: ``begin`` and ``end`` are offsets from the start of the file, ``shape`` is in torch's order."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_entries(file: MappedFile, limits: Limits) -> dict[str, Entry]:
    """The table of tensors. Their bytes cover the data without overlap or hole.

    Raises InvalidFile ``invalid safetensors: <part>: <reason>``.
    """
    text, start = _header_text(file, limits)
    entries = _Parser(text, start, limits).entries()
    position = start
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != position:
            found, expected = entry.begin - start, position - start
            raise malformed(f"tensor {cut(name)}", f"starts at {found} of the data, not at {expected}: overlap or hole")
        position = entry.end
    if position != file.size:
        raise malformed("data", f"the tensors end at byte {position}, the file has {file.size}")
    return entries


def _header_text(file: MappedFile, limits: Limits) -> tuple[str, int]:
    """The JSON text and where the data starts."""
    if file.size < 8:
        raise malformed("header length", f"the file has only {file.size} bytes")
    length = int.from_bytes(file.data[:8], "little")
    limit = limits.safetensors_header_bytes
    if not 2 <= length <= min(limit, file.size - 8):
        raise malformed("header length", f"{length} bytes, with {file.size - 8} left and a limit of {limit}")
    try:
        text = str(file.data[8 : 8 + length], "utf-8")
    except UnicodeDecodeError:
        raise malformed("header", "is not UTF-8") from None
    if not text.startswith("{"):
        raise malformed("header", "does not start with {")
    return text.rstrip(" "), 8 + length


class _Parser:
    """Walks over the members of the header's object."""

    def __init__(self, text: str, data_start: int, limits: Limits):
        self._text = text
        self._data_start = data_start
        self._limits = limits
        self._position = 0
        self._decoder = JSONDecoder()

    def entries(self) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        has_metadata = False
        for key in self._members("header"):
            if key == "__metadata__":
                if has_metadata:
                    raise malformed("header", '"__metadata__" is there twice')
                has_metadata = True
                self._skip_metadata()
                continue
            if key in entries:
                raise malformed(f"tensor {cut(key)}", "is there twice")
            if len(entries) == self._limits.n_safetensors_entries:
                raise malformed("header", f"more than {self._limits.n_safetensors_entries} tensors")
            entries[key] = self._entry(f"tensor {cut(key)}")
        if self._position != len(self._text):
            raise malformed("header", "text follows the last }")
        return entries

    def _members(self, part: str) -> Iterator[str]:
        """Yield each key of the object at the position; the caller steps over its value before the next."""
        self._expect("{", part)
        if self._peek() == "}":
            self._position += 1
            return
        while True:
            yield self._string(part)
            if self._peek() != ",":
                break
            self._position += 1
        self._expect("}", part)

    def _string(self, part: str) -> str:
        """The key at the position, with the colon behind it."""
        text = self._value_string(part)
        self._expect(":", part)
        self._peek()
        return text

    def _value_string(self, part: str) -> str:
        if self._peek() != '"':
            raise malformed(part, f"expected a string at character {self._position}")
        try:
            text, self._position = self._decoder.raw_decode(self._text, self._position)
        except ValueError:
            raise malformed(part, f"bad string at character {self._position}") from None
        return str(text)

    def _skip_metadata(self) -> None:
        seen: set[str] = set()
        for key in self._members("__metadata__"):
            if key in seen:
                raise malformed("__metadata__", f"{cut(key)} is there twice")
            seen.add(key)
            self._value_string("__metadata__")

    def _entry(self, part: str) -> Entry:
        """An entry's object holds no other object, so it ends at the next brace."""
        end = self._text.find("}", self._position, self._position + self._limits.safetensors_entry_bytes) + 1
        if not end or self._peek() != "{":
            raise malformed(part, "is not a short object")
        fields = parse(self._text[self._position : end], part, malformed)
        self._position = end
        return _check_entry(fields, part, self._data_start)

    def _peek(self) -> str:
        """The next character that is no space, at which the position then is; "" at the end."""
        match = _SPACE.match(self._text, self._position)
        assert match, "the pattern matches anything"
        self._position = match.end()
        return self._text[self._position : self._position + 1]

    def _expect(self, character: str, part: str) -> None:
        if self._peek() != character:
            raise malformed(part, f"expected {character} at character {self._position}")
        self._position += 1


def _check_entry(fields: Mapping[str, Any], part: str, data_start: int) -> Entry:
    if set(fields) != {"dtype", "shape", "data_offsets"}:
        raise malformed(part, f"has the fields {cut(sorted(fields))}, not dtype, shape, data_offsets")
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    bits = _DTYPE_BITS.get(dtype) if isinstance(dtype, str) else None
    if bits is None:
        raise malformed(part, f"unknown dtype {cut(dtype)}")
    if not _are_sizes(shape):
        raise malformed(part, f"shape {cut(shape)} is not a list of sizes")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise malformed(part, f"data_offsets {cut(offsets)} is not [begin, end]")
    n_bits = math.prod(shape) * bits
    if math.prod(n or 1 for n in shape) > _MAX_INT64 or n_bits != (offsets[1] - offsets[0]) * 8:
        raise malformed(part, f"shape {cut(shape)} of {dtype} does not fill the {offsets[1] - offsets[0]} bytes it has")
    return Entry(dtype, tuple(shape), data_start + offsets[0], data_start + offsets[1])


def _are_sizes(value: object) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n <= _MAX_INT64 for n in value)
