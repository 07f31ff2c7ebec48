"""Importance matrices: how much each input of a weight matrix matters, measured on a text.

An entry holds, for one matrix, the sums of the squares of what it was multiplied with, per column and per expert, and
the number of rows that were summed. Encoders weigh the error of a column by the mean square.

Files are llama.cpp's: a GGUF file without architecture, ``general.type`` "imatrix", two float32 tensors for each
matrix, NAME.in_sum2 (n_counts, n_in) and NAME.counts (n_counts, 1); and the older form, packed numbers without a
magic, in which the sums are per call instead of per row and all experts share a count.
Format: llama.cpp, tools/imatrix/imatrix.cpp and common/imatrix-loader.cpp
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gristmill.kernels import FORMATS
from gristmill.kernels.lazy import torch

from ..checkpoint.base import Value
from ..checkpoint.gguf import GgufCheckpoint
from ..checkpoint.gguf_writer import Sink, TensorPlan, write_gguf
from ..checkpoint.mapped import MappedFile
from ..errors import InvalidFile, cut

if TYPE_CHECKING:
    import torch

__all__ = ["Importance", "ImportanceMatrix", "provenance", "read_imatrix", "write_imatrix"]

_SUMS, _COUNTS = ".in_sum2", ".counts"
_I32 = struct.Struct("<i")
_MAX_NAME, _MAX_ENTRIES = 1024, 65_536


@dataclass(frozen=True, eq=False)
class Importance:
    """One matrix: ``sums`` float32 (n_counts, n) of squared inputs, ``counts`` float32 (n_counts,) of summed rows.

    A stack of experts has a count for each, or one count for all of them and their columns one after the other.
    """

    sums: torch.Tensor
    counts: torch.Tensor

    def mean(self) -> torch.Tensor:
        """float32 (n_counts, n): mean squares. An expert that was never called gets ones, which weigh nothing."""
        counts = self.counts[:, None]
        return torch.where(counts > 0, self.sums / counts.clamp(min=1e-30), torch.ones_like(self.sums))


@dataclass(frozen=True)
class ImportanceMatrix:
    """All entries of a file, by the names of the weights. ``name``: the file's, without its folder.

    ``chunk_size`` is in tokens; it and ``n_chunks`` are 0 where the file does not say.
    """

    entries: Mapping[str, Importance]
    datasets: tuple[str, ...] = ()
    n_chunks: int = 0
    chunk_size: int = 0
    name: str = ""

    def of(self, tensor: str, n_experts: int, n_in: int) -> torch.Tensor | None:
        """float32 (n_experts, n_in) for a weight, None where the text never reached it.

        Raises InvalidFile if the entry has another size: the matrix was made for another model.
        """
        entry = self.entries.get(tensor)
        if entry is None:
            return None
        if entry.sums.numel() != n_experts * n_in:
            reason = f"{entry.sums.numel()} values for a tensor of {n_experts} x {n_in} inputs; it is another model's"
            raise InvalidFile(f"importance matrix: {cut(tensor)}: {reason}")
        return entry.mean().reshape(n_experts, n_in)


def read_imatrix(path: str | os.PathLike[str]) -> ImportanceMatrix:
    """Either form, known by its content. Raises InvalidFile ``importance matrix: <part>: <reason>``."""
    file = MappedFile(path)
    try:
        is_gguf = bytes(file.data[:4]) == b"GGUF"
        matrix = _read_gguf(path, file.name) if is_gguf else _read_packed(file.data, file.name)
    finally:
        file.close()
    if not matrix.entries:
        raise _malformed("entries", "there are none")
    for name, entry in matrix.entries.items():
        if not bool(torch.isfinite(entry.sums).all() and (entry.sums >= 0).all() and (entry.counts >= 0).all()):
            raise _malformed(cut(name), "a value is negative, infinite or not a number")
    return matrix


def write_imatrix(file: Sink, matrix: ImportanceMatrix) -> int:
    """Write the GGUF form, entries sorted by name as llama.cpp does; returns the size in bytes.

    Raises UnsupportedModel for a name that is too long for GGUF.
    """
    metadata: dict[str, Value] = {
        "general.type": "imatrix",
        "imatrix.datasets": list(matrix.datasets),
        "imatrix.chunk_count": matrix.n_chunks,
        "imatrix.chunk_size": matrix.chunk_size,
    }
    tensors: dict[str, torch.Tensor] = {}
    for name in sorted(matrix.entries):
        tensors[name + _SUMS] = matrix.entries[name].sums
        tensors[name + _COUNTS] = matrix.entries[name].counts[:, None]
    plans = [TensorPlan(name, FORMATS["F32"], tuple(tensor.shape)) for name, tensor in tensors.items()]
    return write_gguf(file, metadata, plans, lambda plan: [_bytes(tensors[plan.name])])


def _bytes(tensor: torch.Tensor) -> memoryview:
    array: Any = tensor.to(torch.float32).contiguous().numpy()
    return memoryview(array).cast("B")


def _read_gguf(path: str | os.PathLike[str], name: str) -> ImportanceMatrix:
    with GgufCheckpoint(path) as checkpoint:
        if checkpoint.metadata.get("general.type") != "imatrix":
            raise _malformed('key "general.type"', "is not imatrix, so this is another kind of GGUF file")
        entries = {
            tensor.removesuffix(_SUMS): _read_entry(checkpoint, tensor.removesuffix(_SUMS))
            for tensor in checkpoint.tensors
            if tensor.endswith(_SUMS)
        }
        datasets = checkpoint.metadata.get("imatrix.datasets", ())
        numbers = [checkpoint.metadata.get(f"imatrix.{key}", 0) for key in ("chunk_count", "chunk_size")]
    n_chunks, chunk_size = (number if isinstance(number, int) else 0 for number in numbers)
    names = tuple(text for text in datasets if isinstance(text, str)) if not isinstance(datasets, int | float) else ()
    return ImportanceMatrix(entries, names, n_chunks, chunk_size, name)


def _read_entry(checkpoint: GgufCheckpoint, name: str) -> Importance:
    sums, counts = checkpoint.tensors[name + _SUMS], checkpoint.tensors.get(name + _COUNTS)
    if counts is None:
        raise _malformed(cut(name), "has sums, but no counts")
    if sums.format.name != "F32" or counts.format.name != "F32":
        raise _malformed(cut(name), "is not float32")
    values = checkpoint.tensor(sums.name).view(torch.float32).clone()
    numbers = checkpoint.tensor(counts.name).view(torch.float32).clone().flatten()
    if not numbers.numel() or values.numel() % numbers.numel():
        raise _malformed(cut(name), f"{values.numel()} sums do not go with {numbers.numel()} counts")
    return Importance(values.reshape(numbers.numel(), -1), numbers)


def _read_packed(data: memoryview, name: str) -> ImportanceMatrix:
    """The older form: a count of entries; name, calls and values of each; perhaps the chunks and the text's name."""
    reader = _Reader(data)
    n_entries = reader.number("count of entries", _MAX_ENTRIES)
    entries: dict[str, Importance] = {}
    for i in range(n_entries):
        length = reader.number(f"name of entry {i}", _MAX_NAME)
        tensor = bytes(reader.take(length, f"name of entry {i}")).decode("utf-8", "replace")
        n_calls = reader.number(cut(tensor), 2**31 - 1)
        n_values = reader.number(cut(tensor), 2**31 - 1)
        values = torch.frombuffer(bytearray(reader.take(4 * n_values, cut(tensor))), dtype=torch.float32)
        entries[tensor] = Importance(values[None], torch.tensor([max(n_calls, 1)], dtype=torch.float32))
    if not reader.n_left:
        return ImportanceMatrix(entries, name=name)
    n_chunks = reader.number("count of chunks", 2**31 - 1)
    length = reader.number("name of the text", _MAX_NAME) if reader.n_left else 0
    dataset = bytes(reader.take(length, "name of the text")).decode("utf-8", "replace")
    return ImportanceMatrix(entries, (dataset,) if dataset else (), n_chunks, 0, name)


class _Reader:
    """A position in the bytes of the older form; past the end is an InvalidFile."""

    def __init__(self, data: memoryview):
        self._data = data
        self._at = 0

    @property
    def n_left(self) -> int:
        return len(self._data) - self._at

    def take(self, n_bytes: int, part: str) -> memoryview:
        if n_bytes > self.n_left:
            raise _malformed(part, f"the file ends inside it ({n_bytes} bytes needed, {self.n_left} left)")
        self._at += n_bytes
        return self._data[self._at - n_bytes : self._at]

    def number(self, part: str, limit: int) -> int:
        (value,) = _I32.unpack(self.take(4, part))
        if not 0 <= value <= limit:
            raise _malformed(part, f"{value} is not from 0 to {limit}")
        return int(value)


def _malformed(part: str, reason: str) -> InvalidFile:
    return InvalidFile(f"importance matrix: {part}: {reason}")


def provenance(matrix: ImportanceMatrix) -> dict[str, str | int]:
    """The keys by which a quantized file says what it was weighed with. Names only, never a folder."""
    keys: dict[str, str | int] = {"quantize.imatrix.file": Path(matrix.name).name}
    if matrix.datasets:
        keys["quantize.imatrix.dataset"] = Path(matrix.datasets[0]).name
    keys["quantize.imatrix.entries_count"] = len(matrix.entries)
    if matrix.n_chunks:
        keys["quantize.imatrix.chunks_count"] = matrix.n_chunks
    return keys
