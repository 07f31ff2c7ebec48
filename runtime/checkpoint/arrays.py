"""Arrays of GGUF metadata: read-only sequences over the bytes of the file, decoded on access.

A vocabulary has up to a million strings, and most readers of a header never look at one. ``tolist()`` gives
everything at once and is the fast way for whoever does.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

__all__ = ["NumberArray", "StringArray"]

Number = TypeVar("Number", int, float, bool)
Item = TypeVar("Item")


class _Array(Sequence[Item]):
    """Sequences that equal any sequence with the same items, lists among them."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def tolist(self) -> list[Item]:
        """All items, decoded."""
        return list(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str | bytes):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __repr__(self) -> str:
        return f"<{len(self)} items>" if len(self) > 8 else repr(self.tolist())


class NumberArray(_Array[Number], Generic[Number]):
    """Numbers of one type. ``data``: little-endian, packed; ``typecode`` as in the ``struct`` module.

    ``values`` is the buffer itself, for ``numpy.frombuffer`` and the like.
    """

    __slots__ = ("values",)

    def __init__(self, typecode: str, data: bytes):
        if sys.byteorder == "big" and len(data) > 0 and typecode not in "bB?":
            swapped = array(typecode, data)
            swapped.byteswap()
            data = swapped.tobytes()
        self.values = memoryview(data).cast(typecode)  # type: ignore[call-overload]

    @property
    def packed(self) -> bytes:
        """The numbers as they stand in a file: little-endian, without gaps."""
        if sys.byteorder == "big" and len(self.values) > 0 and self.values.format not in "bB?":
            swapped = array(self.values.format, self.values.tobytes())
            swapped.byteswap()
            return swapped.tobytes()
        raw: bytes = self.values.tobytes()
        return raw

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, index: int) -> Number: ...
    @overload
    def __getitem__(self, index: slice) -> list[Number]: ...
    def __getitem__(self, index: int | slice) -> Number | list[Number]:
        found: Any = self.values[index]
        value: Number | list[Number] = found.tolist() if isinstance(index, slice) else found
        return value

    def __iter__(self) -> Iterator[Number]:
        return iter(self.values)

    def tolist(self) -> list[Number]:
        values: list[Number] = self.values.tolist()
        return values


class StringArray(_Array[str]):
    """Strings with 8-byte lengths between them, as GGUF stores them.

    ``data`` holds pairs of length and bytes without gaps, ``ends[i]`` is where the bytes of string i end. Bytes that
    are not UTF-8 read as U+FFFD; ``raw`` gives them as they are.
    """

    __slots__ = ("_data", "_ends")

    def __init__(self, data: bytes, ends: Sequence[int]):
        self._data = data
        self._ends = ends

    @property
    def packed(self) -> bytes:
        """The strings as they stand in a file, each behind its length."""
        return self._data

    def __len__(self) -> int:
        return len(self._ends)

    def raw(self, index: int) -> bytes:
        """The bytes of one string. ``index`` counts from 0. Raises IndexError."""
        if not 0 <= index < len(self._ends):
            raise IndexError(index)
        start = self._ends[index - 1] if index else 0
        return self._data[start + 8 : self._ends[index]]

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self.raw(index + len(self) if index < 0 else index).decode("utf-8", "replace")

    def __iter__(self) -> Iterator[str]:
        data, start = self._data, 8
        for end in self._ends:
            yield data[start:end].decode("utf-8", "replace")
            start = end + 8
