"""GGUF files, version 2 and 3, little-endian: the header, and a checkpoint whose tensors lie in the mapped file.

Strict: what breaks the format anywhere is refused with the part that does. Bytes behind the last tensor are ignored.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..errors import UnsupportedModel, cut
from .base import Checkpoint, TensorInfo, Value
from .gguf_metadata import Cursor, check_key_value_count, malformed, read_metadata
from .gguf_tensors import check_tensor_count, read_tensors
from .limits import DEFAULT_LIMITS, Limits
from .mapped import MappedFile

if TYPE_CHECKING:
    import torch

__all__ = ["GgufCheckpoint", "GgufHeader", "read_gguf_header"]

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_DEFAULT_ALIGNMENT = 32
_MIN_ALIGNMENT = 8  # the specification asks for a multiple of 8; kernels rely on it


@dataclass(frozen=True)
class GgufHeader:
    """All of a GGUF file but its data. Holds no reference to the file; tensors are in the file's order.

    ``scalar_types``: the type number in the file of each key whose value is a number or a bool, for whoever writes
    the metadata again.
    """

    version: int
    metadata: Mapping[str, Value]
    tensors: Mapping[str, TensorInfo]
    scalar_types: Mapping[str, int]


def read_gguf_header(path: str | os.PathLike[str], *, limits: Limits = DEFAULT_LIMITS) -> GgufHeader:
    """Metadata and tensor table. Raises InvalidFile ``invalid gguf: <part>: <reason>``."""
    file = MappedFile(path)
    try:
        return parse_header(file.data, limits)
    finally:
        file.close()


def parse_header(data: memoryview, limits: Limits = DEFAULT_LIMITS) -> GgufHeader:
    """The header at the start of ``data``, which is the whole file. Raises InvalidFile."""
    cursor = Cursor(data)
    magic = cursor.take(4, "magic")
    if magic != MAGIC:
        raise malformed("magic", f"the file starts with {cut(magic.decode('latin-1'))}, so it is not a GGUF file")
    version = cursor.u32("version")
    if version & 0xFFFF == 0 and version:
        raise malformed("version", "the byte order is big-endian, only little-endian files are supported")
    if version not in _VERSIONS:
        raise malformed("version", f"{version} is not supported, only 2 and 3")
    n_tensors = check_tensor_count(cursor, limits)
    n_key_values = check_key_value_count(cursor, limits)
    metadata, types = read_metadata(cursor, n_key_values, limits)
    tensors = read_tensors(cursor, n_tensors, _alignment(metadata, limits), limits)
    return GgufHeader(version, MappingProxyType(metadata), MappingProxyType(tensors), MappingProxyType(types))


def _alignment(metadata: Mapping[str, Value], limits: Limits) -> int:
    alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    assert isinstance(alignment, int), "read_metadata lets only uint32 through"
    if not _MIN_ALIGNMENT <= alignment <= limits.alignment or alignment & (alignment - 1):
        reason = f"{alignment} is not a power of two from {_MIN_ALIGNMENT} to {limits.alignment}"
        raise malformed('key "general.alignment"', reason)
    return alignment


class GgufCheckpoint(Checkpoint):
    """A GGUF file. Raises InvalidFile if it is malformed, UnsupportedModel if it is one part of several and not read
    as such (``split``).
    """

    kind = "gguf"

    def __init__(self, path: str | os.PathLike[str], *, limits: Limits = DEFAULT_LIMITS, split: bool = False):
        self._file = MappedFile(path)
        try:
            header = parse_header(self._file.data, limits)
            if not split:
                _refuse_split(header.metadata)
        except BaseException:
            self._file.close()
            raise
        self.metadata = header.metadata
        self.tensors = header.tensors
        self.scalar_types = header.scalar_types

    def raw(self, name: str) -> memoryview:
        info = self.tensors[name]
        return self._file.view(info.offset, info.n_bytes)

    def tensor(self, name: str) -> torch.Tensor:
        info = self.tensors[name]
        return self._file.tensor(info.offset, info.n_bytes).view(info.byte_shape)

    def release(self, name: str) -> None:
        info = self.tensors[name]
        self._file.release(info.offset, info.n_bytes)

    def close(self) -> None:
        self._file.close()


def _refuse_split(metadata: Mapping[str, Value]) -> None:
    n_parts = metadata.get("split.count", 0)
    if n_parts not in (0, 1):
        raise UnsupportedModel(
            f'key "split.count": the file is one of {cut(n_parts)} parts, and its name does not say which: '
            "they must be named NAME-00001-of-00003.gguf and so on, in one folder"
        )
