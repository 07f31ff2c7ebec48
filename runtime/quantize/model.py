"""A whole model in another format: planned from its header, then written tensor by tensor.

Of a tensor only some rows are decoded at a time, so that memory is bounded by its encoded bytes, whatever the size
of the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gristmill.kernels.encoder import Encoder, one_torch_thread
from gristmill.kernels.formats import FORMATS, Format
from gristmill.kernels.lazy import torch

from ..checkpoint.base import Checkpoint, TensorInfo, Value
from ..checkpoint.gguf_writer import Sink, TensorPlan, write_gguf
from ..errors import InvalidFile, InvalidRequest, cut
from .choose import NO_WISHES, Choice, Wishes, choose_formats, is_kept
from .file_types import FILE_TYPES, FileType
from .imatrix import ImportanceMatrix, provenance

if TYPE_CHECKING:
    import torch

    OnProgress = Callable[["PlannedTensor", int, int], None]

__all__ = ["PlannedTensor", "QuantizationPlan", "plan_conversion", "plan_quantization", "quantize_file"]

_VERSION = 2  # GGML_QNT_VERSION in ggml.h: how k-quants are laid out
_FLOATS = ("F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
_CHUNK_ELEMS = 1 << 20  # decoded at a time: 4 MiB
_F16_MAX = 65504.0


@dataclass(frozen=True)
class PlannedTensor:
    """What a tensor is (``info``), and the format that it gets."""

    info: TensorInfo
    choice: Choice

    @property
    def target(self) -> TensorPlan:
        return TensorPlan(self.info.name, self.choice.format, self.info.shape)

    @property
    def is_changed(self) -> bool:
        return self.choice.format.name != self.info.format.name


@dataclass(frozen=True)
class QuantizationPlan:
    """The file to be: ``metadata`` with its ``scalar_types``, and its tensors in the order of the source."""

    metadata: Mapping[str, Value]
    scalar_types: Mapping[str, int]
    tensors: tuple[PlannedTensor, ...]

    @property
    def n_weights(self) -> int:
        return sum(math.prod(tensor.info.shape) for tensor in self.tensors)

    @property
    def n_bytes_before(self) -> int:
        """Bytes of the source's tensors."""
        return sum(tensor.info.n_bytes for tensor in self.tensors)

    @property
    def n_bytes(self) -> int:
        """Bytes of the tensors to be, without padding."""
        return sum(tensor.target.n_bytes for tensor in self.tensors)

    def requantized(self) -> list[str]:
        """Tensors that lose a second time: quantized already, and quantized again otherwise."""
        changed = [tensor for tensor in self.tensors if tensor.is_changed]
        return [t.info.name for t in changed if not {t.info.format.name, t.choice.format.name} & {*_FLOATS}]

    def without_importance(self, imatrix: ImportanceMatrix | None) -> list[PlannedTensor]:
        """Tensors whose format is of no use without an importance matrix, and that have no entry in one."""
        known = imatrix.entries if imatrix else {}
        return [t for t in self.tensors if t.choice.needs_imatrix and t.is_changed and t.info.name not in known]

    def fallbacks(self) -> list[str]:
        """Tensors whose rows are not whole blocks of the format that they should have."""
        return [tensor.info.name for tensor in self.tensors if tensor.choice.instead_of]


def plan_quantization(
    source: Checkpoint,
    file_type: FileType | None,
    *,
    imatrix: ImportanceMatrix | None = None,
    wishes: Wishes = NO_WISHES,
) -> QuantizationPlan:
    """Which format every tensor gets; reads no weights. ``file_type`` None: a GGUF file of the same weights.

    Raises InvalidRequest for a format that cannot be encoded, InvalidFile for an importance matrix of another model.
    """
    if file_type is None:
        choices = {name: Choice(info.format) for name, info in source.tensors.items()}
    else:
        has_imatrix = imatrix is not None
        choices = choose_formats(source.metadata, source.tensors, file_type, has_imatrix=has_imatrix, wishes=wishes)
    tensors = tuple(PlannedTensor(row, _writable(source, row, choices[name])) for name, row in source.tensors.items())
    for tensor in tensors:
        format = tensor.choice.format
        if tensor.is_changed and format.encode_blocks is None:
            raise InvalidRequest(f"weight format {format.name} has no encoder; choose another type")
        if imatrix is not None:
            _importance(tensor.info, imatrix)  # of another size: an error now, not after half of the work
    metadata, scalar_types = _metadata(source, file_type, imatrix)
    return QuantizationPlan(metadata, scalar_types, tensors)


def plan_conversion(source: Checkpoint) -> QuantizationPlan:
    """A model as its makers published it: bfloat16 matrices and quantized ones as they are, others in float16, what is
    kept in float32."""
    tensors = tuple(PlannedTensor(info, Choice(FORMATS[_published(info)])) for info in source.tensors.values())
    formats = {tensor.choice.format.name for tensor in tensors}
    floats = "BF16" if "BF16" in formats and "F16" not in formats else "F16"
    file_type = FILE_TYPES["MXFP4_MOE" if "MXFP4" in formats else floats]
    return QuantizationPlan(*_metadata(source, file_type, None), tensors)


def quantize_file(
    source: Checkpoint,
    file: Sink,
    plan: QuantizationPlan,
    *,
    imatrix: ImportanceMatrix | None = None,
    encoder: Encoder | None = None,
    on_progress: OnProgress | None = None,
) -> int:
    """Write the planned GGUF file and return its size in bytes; syncing and publishing it is the caller's.

    ``encoder`` None: one on all cores.

    ``on_progress(tensor, done, total)`` comes after each piece of work and counts bytes of the source. Raises
    InvalidFile, naming the tensor, for weights that are not finite or do not fit into the format, and InvalidRequest
    for a format that needs an importance which is not there; then nothing is written.
    """
    _check_importance(plan, imatrix)
    planned = {tensor.info.name: tensor for tensor in plan.tensors}
    total, done = plan.n_bytes_before, 0
    encoder = encoder or Encoder()

    def data(target: TensorPlan) -> Iterator[memoryview]:
        nonlocal done
        tensor = planned[target.name]
        n_before = done
        for n_rows_done, n_rows, piece in _pieces(source, tensor, imatrix, encoder):
            yield piece
            done = n_before + tensor.info.n_bytes * n_rows_done // n_rows
            if on_progress is not None:
                on_progress(tensor, done, total)
        done = n_before + tensor.info.n_bytes
        source.release(target.name)

    targets = [tensor.target for tensor in plan.tensors]
    with one_torch_thread():
        return write_gguf(file, plan.metadata, targets, data, scalar_types=plan.scalar_types)


def _check_importance(plan: QuantizationPlan, imatrix: ImportanceMatrix | None) -> None:
    blind = plan.without_importance(imatrix)
    if not blind:
        return
    what = "give one with --imatrix FILE" if imatrix is None else "which the one given with --imatrix does not have"
    raise InvalidRequest(
        f"tensor {cut(blind[0].info.name)}{f' and {len(blind) - 1} more' if len(blind) > 1 else ''}: "
        f"{blind[0].choice.format.name} needs an importance matrix, {what} (gristmill imatrix makes one)"
    )


def _published(info: TensorInfo) -> str:
    if info.format.name not in _FLOATS:
        return info.format.name
    if is_kept(info):
        return "F32"
    return "BF16" if info.format.name == "BF16" else "F16"


def _writable(source: Checkpoint, info: TensorInfo, choice: Choice) -> Choice:
    """Small tensors of a safetensors folder become float32, as llama.cpp has them; GGUF has no 8-bit floats."""
    if source.kind != "gguf" and is_kept(info) and info.format.name in _FLOATS:
        return Choice(FORMATS["F32"])
    if choice.format.ggml_id is None:
        return Choice(FORMATS["F16"])
    return choice


def _metadata(
    source: Checkpoint, file_type: FileType | None, imatrix: ImportanceMatrix | None
) -> tuple[dict[str, Value], dict[str, int]]:
    """The source's, but for what was true of its file only."""
    metadata = {key: value for key, value in source.metadata.items() if not key.startswith("split.")}
    if file_type is not None:
        metadata["general.quantization_version"] = _VERSION
        metadata["general.file_type"] = file_type.number
    if imatrix is not None:
        metadata = {key: value for key, value in metadata.items() if not key.startswith("quantize.imatrix.")}
        metadata |= provenance(imatrix)
    written = ("general.quantization_version", "general.file_type")
    return metadata, {key: number for key, number in source.scalar_types.items() if key not in written}


def _pieces(
    source: Checkpoint, tensor: PlannedTensor, imatrix: ImportanceMatrix | None, encoder: Encoder
) -> Iterator[tuple[int, int, memoryview]]:
    """Rows done, rows in all, and the encoded bytes of the rows between; expert by expert."""
    if not tensor.is_changed:
        yield 1, 1, source.raw(tensor.info.name)
        return
    info, format = tensor.info, tensor.choice.format
    encoded = source.tensor(info.name).reshape(-1, math.prod(info.shape[-2:-1]), info.byte_shape[-1])
    n_experts, n_rows = encoded.shape[:2]
    importance = None if imatrix is None or format.name in _FLOATS else _importance(info, imatrix)
    step = max(1, _CHUNK_ELEMS // max(1, info.shape[-1]))
    for expert in range(n_experts):
        weights = None if importance is None else importance[expert]
        for start in range(0, n_rows, step):
            rows = info.format.decode(encoded[expert, start : start + step])
            _check(rows, info, format)
            n_done = expert * n_rows + start + rows.shape[0]
            yield n_done, n_experts * n_rows, _bytes(encoder(rows, format, weights))


def _importance(info: TensorInfo, imatrix: ImportanceMatrix) -> torch.Tensor | None:
    """float32 (n_experts, n_in). The embedding is looked up, not multiplied with: an entry of another size is none."""
    n_experts, n_in = math.prod(info.shape[:-2]), info.shape[-1]
    entry = imatrix.entries.get(info.name)
    if entry is not None and "token_embd" in info.name and entry.sums.numel() != n_experts * n_in:
        return None
    return imatrix.of(info.name, n_experts, n_in)


def _check(rows: torch.Tensor, info: TensorInfo, format: Format) -> None:
    if not rows.numel():
        return
    low, high = (float(value) for value in torch.aminmax(rows))  # NaN if there is one
    if not math.isfinite(high - low):
        raise InvalidFile(f"tensor {cut(info.name)}: holds weights that are infinite or not numbers")
    if format.name == "F16" and max(-low, high) > _F16_MAX:
        raise InvalidFile(f"tensor {cut(info.name)}: holds weights beyond the range of F16; use BF16 or F32")


def _bytes(encoded: torch.Tensor) -> memoryview:
    array: Any = encoded.contiguous().numpy()
    return memoryview(array).cast("B")
