"""Writing GGUF files, version 3: header first, then one tensor after the other, as it comes.

Nothing larger than one piece of a tensor is ever held: all offsets follow from the plan. Knows no quantization and
no names of files; whoever calls syncs and publishes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from struct import pack
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, TypeAlias

from gristmill.kernels.formats import Format

from ..errors import UnsupportedModel, cut
from .base import TensorInfo, Value
from .gguf_tensors import align
from .gguf_values import packed_key_value, packed_string
from .limits import DEFAULT_LIMITS

if TYPE_CHECKING:
    Buffer: TypeAlias = bytes | bytearray | memoryview

__all__ = ["Sink", "TensorPlan", "gguf_header", "write_gguf"]

_VERSION, _DEFAULT_ALIGNMENT = 3, 32
_NO_TYPES: Mapping[str, int] = MappingProxyType({})


class Sink(Protocol):
    """What is written to: a binary file, or anything else that takes all of the bytes it is given."""

    def write(self, data: Buffer, /) -> object: ...


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """A tensor to be written. ``shape`` is in torch's order: a weight matrix is (n_out, n_in)."""

    name: str
    format: Format
    shape: tuple[int, ...]

    @staticmethod
    def of(info: TensorInfo) -> TensorPlan:
        """The same tensor as it was read."""
        return TensorPlan(info.name, info.format, info.shape)

    @property
    def n_bytes(self) -> int:
        """Raises ValueError unless a row is a whole number of blocks."""
        return math.prod(self.shape[:-1]) * self.format.row_bytes(self.shape[-1])


def write_gguf(
    file: Sink,
    metadata: Mapping[str, Value],
    tensors: Sequence[TensorPlan],
    data: Callable[[TensorPlan], Iterable[Buffer]],
    *,
    scalar_types: Mapping[str, int] = _NO_TYPES,
) -> int:
    """Write a whole file and return its size in bytes. ``data`` is asked for each tensor in turn, once.

    What it gives are pieces of the encoded bytes, in order: together exactly ``n_bytes``, or ValueError is raised.
    ``scalar_types``: those of the file that ``metadata`` was read from. Raises UnsupportedModel, before anything is
    written, for what GGUF cannot hold; see ``gguf_header``.
    """
    header = gguf_header(metadata, tensors, scalar_types=scalar_types)
    file.write(header)
    size, alignment = len(header), _alignment(metadata)
    for plan in tensors:
        n_written = 0
        for piece in data(plan):
            n_written += memoryview(piece).nbytes
            if n_written > plan.n_bytes:
                break
            file.write(piece)
        if n_written != plan.n_bytes:
            raise ValueError(f"tensor {cut(plan.name)}: {n_written} bytes or more came, {plan.n_bytes} are planned")
        padding = -n_written % alignment
        file.write(bytes(padding))
        size += n_written + padding
    return size


def gguf_header(
    metadata: Mapping[str, Value], tensors: Sequence[TensorPlan], *, scalar_types: Mapping[str, int] = _NO_TYPES
) -> bytes:
    """Everything in front of the first tensor, padding included.

    Raises UnsupportedModel, naming the key or tensor: for a value without a GGUF type, a name that is empty, too long
    or there twice, more than four dimensions, a format without a type number, a row that is not whole blocks.
    """
    alignment = _alignment(metadata)
    parts = [b"GGUF", pack("<IQQ", _VERSION, len(tensors), len(metadata))]
    parts += [packed_key_value(key, value, scalar_types) for key, value in metadata.items()]
    offset, names = 0, set[str]()
    for plan in tensors:
        if plan.name in names:
            raise UnsupportedModel(f"tensor {cut(plan.name)}: is there twice")
        names.add(plan.name)
        parts.append(_table_row(plan, offset))
        offset = align(offset + plan.n_bytes, alignment)
    header = b"".join(parts)
    return header + bytes(-len(header) % alignment)


def _table_row(plan: TensorPlan, offset: int) -> bytes:
    name = plan.name.encode("utf-8", "replace")
    if not 1 <= len(name) <= DEFAULT_LIMITS.tensor_name_bytes:
        reason = f"a name has 1 to {DEFAULT_LIMITS.tensor_name_bytes} bytes, not {len(name)}"
        raise UnsupportedModel(f"tensor {cut(plan.name)}: {reason}")
    if not 1 <= len(plan.shape) <= DEFAULT_LIMITS.n_dims:
        reason = f"GGUF has 1 to {DEFAULT_LIMITS.n_dims} dimensions, not {len(plan.shape)}"
        raise UnsupportedModel(f"tensor {cut(plan.name)}: {reason}")
    if plan.format.ggml_id is None:
        raise UnsupportedModel(f"tensor {cut(plan.name)}: GGUF does not know the format {plan.format.name}")
    if plan.shape[-1] % plan.format.block_elems:
        reason = f"a row of {plan.shape[-1]} is not whole {plan.format.name} blocks of {plan.format.block_elems}"
        raise UnsupportedModel(f"tensor {cut(plan.name)}: {reason}")
    dims = pack(f"<I{len(plan.shape)}Q", len(plan.shape), *reversed(plan.shape))
    return packed_string(name) + dims + pack("<IQ", plan.format.ggml_id, offset)


def _alignment(metadata: Mapping[str, Value]) -> int:
    alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 8 or alignment & (alignment - 1):
        raise UnsupportedModel(f'key "general.alignment": {cut(alignment)} is not a power of two from 8 on')
    return alignment
