"""The file of an importance matrix: llama.cpp's GGUF form, and its older one, which is only read.

    GGUF   general.type "imatrix"; imatrix.datasets, imatrix.chunk_count, imatrix.chunk_size;
           NAME.in_sum2 float32 (n_experts or 1, n_in), NAME.counts float32 (n_experts or 1, 1)
    old    int32 n; n times: int32 length, name, int32 n_calls, int32 n_values, float32 values (the mean squares times
           n_calls); then maybe int32 n_chunks, int32 length, dataset

Sources: tools/imatrix/imatrix.cpp and tools/quantize/quantize.cpp of llama.cpp.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .checkpoint import open_checkpoint
from .errors import InvalidFile, cut

if TYPE_CHECKING:
    import torch

    from .checkpoint import Value

__all__ = ["Importance", "read_importance", "write_importance"]

_SUMS, _COUNTS = ".in_sum2", ".counts"
_MAX_NAME, _MAX_VALUES, _MAX_TENSORS = 1024, 1 << 28, 1 << 20


@dataclass(frozen=True)
class Importance:
    """For each weight: sums of squares of its inputs, float32 (n_experts or 1, n_in), and of how many inputs."""

    sums: Mapping[str, torch.Tensor]
    counts: Mapping[str, torch.Tensor]
    datasets: tuple[str, ...] = ()
    n_chunks: int = 0
    chunk_size: int = 0

    def of(self, name: str) -> torch.Tensor | None:
        """Mean squares, float32 (n_experts or 1, n_in). None where nothing is known. Experts that were never used
        have ones: every column counts the same."""
        import torch

        if name not in self.sums:
            return None
        counts = self.counts[name].reshape(-1, 1)
        return torch.where(counts > 0, self.sums[name] / counts.clamp(min=1.0), torch.ones_like(self.sums[name]))


def write_importance(path: str | os.PathLike[str], importance: Importance) -> None:
    """As GGUF. Raises OSError."""
    from gguf import GGUFWriter

    writer = GGUFWriter(path, "")
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", list(importance.datasets) or [""])
    writer.add_uint32("imatrix.chunk_count", importance.n_chunks)
    writer.add_uint32("imatrix.chunk_size", importance.chunk_size)
    for name in sorted(importance.sums):
        writer.add_tensor(name + _SUMS, importance.sums[name].numpy())
        writer.add_tensor(name + _COUNTS, importance.counts[name].reshape(-1, 1).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read_importance(path: str | os.PathLike[str]) -> Importance:
    """Raises InvalidFile for what is neither of the two forms, OSError."""
    with open(path, "rb") as file:
        is_gguf = file.read(4) == b"GGUF"
    return _read_gguf(path) if is_gguf else _read_old(path)


def _read_gguf(path: str | os.PathLike[str]) -> Importance:
    with open_checkpoint(path) as checkpoint:
        meta = checkpoint.metadata
        if meta.get("general.type") != "imatrix":
            raise InvalidFile("the file is not an importance matrix: general.type is not imatrix")
        sums, counts = {}, {}
        for tensor in checkpoint.tensors:
            if tensor.endswith(_SUMS):
                name = tensor.removesuffix(_SUMS)
                if name + _COUNTS not in checkpoint.tensors:
                    raise InvalidFile(f"invalid importance matrix: {cut(name)} has no counts")
                values = _floats(checkpoint.tensor(tensor), tensor)
                sums[name] = values.reshape(-1, values.shape[-1])  # one row of it may be written as a vector
                counts[name] = _floats(checkpoint.tensor(name + _COUNTS), tensor).flatten()
                if len(counts[name]) != len(sums[name]):
                    raise InvalidFile(f"invalid importance matrix: sums and counts of {cut(name)} do not fit")
        datasets = meta.get("imatrix.datasets")
        texts = tuple(str(text) for text in datasets) if isinstance(datasets, Sequence) else ()
        return Importance(sums, counts, texts, _count(meta, "chunk_count"), _count(meta, "chunk_size"))


def _count(meta: Mapping[str, Value], key: str) -> int:
    value = meta.get(f"imatrix.{key}")
    return value if isinstance(value, int) else 0


def _floats(data: torch.Tensor, name: str) -> torch.Tensor:
    import torch

    values = data.clone().view(torch.float32)
    if not bool(values.isfinite().all()) or bool((values < 0).any()):
        raise InvalidFile(f"invalid importance matrix: {cut(name)} holds numbers that are no sums of squares")
    return values


def _read_old(path: str | os.PathLike[str]) -> Importance:
    import torch

    with open(path, "rb") as file:
        data = file.read()
    at = 0

    def take(n: int) -> bytes:
        nonlocal at
        if n < 0 or at + n > len(data):
            raise InvalidFile("the file is no importance matrix, or it is cut off")
        at += n
        return data[at - n : at]

    def count(limit: int) -> int:
        (n,) = struct.unpack("<i", take(4))
        if not 0 <= n <= limit:
            raise InvalidFile(f"the file is no importance matrix: a count of {n}")
        return int(n)

    sums, counts = {}, {}
    for _ in range(count(_MAX_TENSORS)):
        name = take(count(_MAX_NAME)).decode("utf-8", "replace")
        n_calls = count(1 << 30)
        values = torch.frombuffer(bytearray(take(4 * count(_MAX_VALUES))), dtype=torch.float32)[None]
        sums[name], counts[name] = _floats(values.contiguous(), name), torch.tensor([float(max(1, n_calls))])
    if not sums:
        raise InvalidFile("the importance matrix is empty")
    n_chunks = count(1 << 30) if at < len(data) else 0
    dataset = (take(count(1 << 16)).decode("utf-8", "replace"),) if at < len(data) else ()
    return Importance(sums, counts, dataset, n_chunks)
