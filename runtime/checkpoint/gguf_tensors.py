"""The tensor table of a GGUF file: names, formats, shapes, and that their bytes lie where the format says.

Knows nothing of what the tensors mean.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import replace

from gristmill.kernels.formats import Format, by_ggml_id

from ..errors import cut
from .base import TensorInfo
from .gguf_metadata import Cursor, malformed
from .limits import Limits
from .plain_types import plain_type

__all__ = ["check_tensor_count", "read_tensors"]

_MIN_TENSOR_BYTES = 8 + 1 + 4 + 4 + 8  # name length, name, dimension count, type, offset
_MAX_INT64 = 2**63 - 1

# Two spellings of one weight: a file that has both leaves open which one counts.
_SAME_WEIGHT = (
    (re.compile(r"(blk\.\d+\.ffn_(?:gate|up|down))\.\d+\.(weight|bias)"), r"\1_exps.\2"),
    (re.compile(r"(blk\.\d+\.attn_)[qkv]\.(weight|bias)"), r"\1qkv.\2"),
    (re.compile(r"(blk\.\d+\.ffn_)(?:gate|up)_exps\.(weight|bias)"), r"\1gate_up_exps.\2"),
)


def align(offset: int, alignment: int) -> int:
    """``offset``, rounded up."""
    return -(-offset // alignment) * alignment


def check_tensor_count(cursor: Cursor, limits: Limits) -> int:
    """The count of tensors, which the file has room for."""
    return cursor.count("tensor count", limits.n_tensors, _MIN_TENSOR_BYTES)


def read_tensors(cursor: Cursor, n_tensors: int, alignment: int, limits: Limits) -> dict[str, TensorInfo]:
    """The table in the file's order, with offsets from the start of the file. The cursor ends behind the padding.

    Tensors follow each other in the order of the table, each at the next multiple of ``alignment``: so none
    overlap, none leave holes, and all sums are bounded by the size of the file. Raises InvalidFile, naming the tensor.
    """
    rows: dict[str, TensorInfo] = {}
    n_data_bytes = 0
    for i in range(n_tensors):
        info = _read_row(cursor, f"tensor {i}", limits)
        if info.name in rows:
            raise malformed(f"tensor {cut(info.name)}", "is there twice")
        expected = align(n_data_bytes, alignment)
        if info.offset != expected:
            raise malformed(
                f"tensor {cut(info.name)}",
                f"starts at {info.offset} of the data, not at {expected}: tensors follow each other without overlap "
                f"or hole, aligned to {alignment} bytes",
            )
        n_data_bytes = expected + info.n_bytes
        if n_data_bytes > len(cursor.data):
            raise malformed(f"tensor {cut(info.name)}", f"needs {info.n_bytes} bytes, more than the file has")
        rows[info.name] = info
    _check_spellings(rows)
    return _place(cursor, rows, alignment)


def _read_row(cursor: Cursor, part: str, limits: Limits) -> TensorInfo:
    name = cursor.name(part, limits.tensor_name_bytes)
    part = f"tensor {cut(name)}"
    n_dims = cursor.u32(part)
    if n_dims > limits.n_dims:
        raise malformed(part, f"has {n_dims} dimensions, the limit is {limits.n_dims}")
    # The file's order is innermost first. A tensor without dimensions is one number.
    shape = tuple(reversed([cursor.u64(part) for _ in range(n_dims)])) or (1,)
    if math.prod(n or 1 for n in shape) > _MAX_INT64:
        raise malformed(part, f"the shape {list(shape)} has more than 2^63 elements")
    type_number = cursor.u32(part)
    format = by_ggml_id(type_number) or plain_type(type_number)
    if format is None:
        raise malformed(part, f"type {type_number} is unknown or not supported")
    offset = cursor.u64(part)
    return TensorInfo(name, format, shape, offset, math.prod(shape[:-1]) * _row_bytes(format, shape[-1], part))


def _row_bytes(format: Format, n_elems: int, part: str) -> int:
    try:
        return format.row_bytes(n_elems)
    except ValueError as error:
        raise malformed(part, str(error)) from None


def _place(cursor: Cursor, rows: dict[str, TensorInfo], alignment: int) -> dict[str, TensorInfo]:
    """Turn offsets into the data section to offsets into the file, which must have all of them."""
    if not rows:
        return rows  # a vocabulary-only file may end right here, without padding
    start = align(cursor.position, alignment)
    cursor.advance(start - cursor.position, "padding before the data section")
    for info in rows.values():
        end = start + info.offset + info.n_bytes
        if end > len(cursor.data):
            raise malformed(f"tensor {cut(info.name)}", f"ends at byte {end}, but the file has {len(cursor.data)}")
    return {name: replace(info, offset=start + info.offset) for name, info in rows.items()}


def _check_spellings(names: Iterable[str]) -> None:
    names = frozenset(names)
    for name in sorted(names):
        for pattern, other in _SAME_WEIGHT:
            match = pattern.fullmatch(name)
            if match and match.expand(other) in names:
                raise malformed(f"tensor {cut(name)}", f"is there a second time, as {cut(match.expand(other))}")
