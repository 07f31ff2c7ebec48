"""A checkpoint as one GGUF file, its matrices as 16-bit floats; and a split file as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from gristmill.kernels.formats import FORMATS

from ..checkpoint import Checkpoint, TensorInfo, Value
from ..checkpoint.gguf_writer import Sink, TensorPlan, write_gguf

if TYPE_CHECKING:
    from gristmill.kernels.formats import Format

__all__ = ["OnProgress", "convert_model", "merge_parts"]

OnProgress = Callable[[int, int], None]

_CHUNK_ELEMS = 1 << 22
_QUANTIZATION_VERSION = 2  # of GGML's block layouts
_FILE_TYPES = {"F16": 1, "BF16": 32}
# Kept in float32, as llama.cpp's converter keeps them: small, and what follows is sensitive to them.
_EXACT = ("ffn_gate_inp.weight", "position_embd.weight", "token_types.weight")


def convert_model(checkpoint: Checkpoint, file: Sink, on_progress: OnProgress = lambda done, total: None) -> None:
    """Write all of ``checkpoint``: vectors in float32, bfloat16 matrices as they are, other matrices in float16.

    ``on_progress(done, total)`` counts source bytes. Raises UnsupportedModel for what GGUF cannot hold, OSError.
    """
    plans = [TensorPlan(info.name, _target(info), info.shape) for info in checkpoint.tensors.values()]
    kinds = {plan.format.name for plan in plans}
    file_type = _FILE_TYPES["BF16" if "BF16" in kinds and "F16" not in kinds else "F16"]
    more: dict[str, Value] = {
        "general.file_type": file_type,
        "general.quantization_version": _QUANTIZATION_VERSION,
    }
    pieces = _Pieces(checkpoint, on_progress)
    write_gguf(file, {**checkpoint.metadata, **more}, plans, pieces)


def merge_parts(checkpoint: Checkpoint, file: Sink, on_progress: OnProgress = lambda done, total: None) -> None:
    """Write all of ``checkpoint`` as it is. Raises as ``convert_model`` does."""
    plans = [TensorPlan.of(info) for info in checkpoint.tensors.values()]
    types: Mapping[str, int] = getattr(checkpoint, "scalar_types", {})
    write_gguf(file, checkpoint.metadata, plans, _Pieces(checkpoint, on_progress), scalar_types=types)


def _target(info: TensorInfo) -> Format:
    if len(info.shape) == 1 or info.name.endswith(_EXACT):
        return FORMATS["F32"]
    return info.format if info.format.name == "BF16" else FORMATS["F16"]


class _Pieces:
    """Gives the bytes of each planned tensor, some rows at a time."""

    def __init__(self, checkpoint: Checkpoint, on_progress: OnProgress):
        self._checkpoint, self._on_progress = checkpoint, on_progress
        self._total = sum(info.n_bytes for info in checkpoint.tensors.values())
        self._done = 0

    def __call__(self, plan: TensorPlan) -> Iterator[memoryview]:
        info = self._checkpoint.tensors[plan.name]
        yield from [self._checkpoint.raw(plan.name)] if plan.format == info.format else self._encoded(plan, info)
        self._checkpoint.release(plan.name)
        self._done += info.n_bytes
        self._on_progress(self._done, self._total)

    def _encoded(self, plan: TensorPlan, info: TensorInfo) -> Iterator[memoryview]:
        data = self._checkpoint.tensor(plan.name)
        rows = data.reshape(-1, data.shape[-1])
        step = max(1, _CHUNK_ELEMS // max(1, plan.shape[-1]))
        for start in range(0, len(rows), step):
            encoded = plan.format.encode(info.format.decode(rows[start : start + step]))
            yield memoryview(encoded.contiguous().numpy()).cast("B")  # type: ignore[arg-type]
