"""Weights in the packed form of the native kernels: panels of 16 rows (native/layouts.h)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..dispatch import Weight
from ..formats import FORMATS
from ..memory import Memory
from ..qtensor import QTensor
from .context import CpuContext

PANEL = 16


@dataclass(frozen=True)
class Packed:
    """``data``: uint8 (n_experts * panels, panel bytes), n_experts 1 for a plain matrix."""

    data: torch.Tensor
    kind: int
    rows: int
    cols: int


def pack(context: CpuContext, memory: Memory, name: str, tensor: QTensor) -> Weight:
    """A weight (out, in) or (n_experts, out, in). One in a format without a kernel is kept as its float32 values."""
    native, kinds = context.native, context.native.kinds()
    stored = tensor
    if tensor.format.name not in kinds:
        stored = QTensor.dense(tensor.dequantize())
    *stack, rows, cols = stored.shape
    n_experts = stack[0] if stack else 1
    kind = kinds.index(stored.format.name)
    panel_bytes = native.panel_bytes(kind, cols)
    n_panels = -(-rows // PANEL)
    data = memory.take(n_experts * n_panels * panel_bytes)
    blocks = stored.data.contiguous()
    row_bytes = blocks.shape[-1]
    for expert in range(n_experts):
        native.pack(
            context.handle,
            None,
            kind=kind,
            blocks=blocks.data_ptr() + expert * rows * row_bytes,
            row_bytes=row_bytes,
            rows=rows,
            cols=cols,
            panels=data.data_ptr() + expert * n_panels * panel_bytes,
            panel_bytes=panel_bytes,
        )
    form = f"packed-{FORMATS[stored.format.name].name.lower()}"
    return Weight(name, tensor.shape, tensor.format.name, form, Packed(data, kind, rows, cols), data.numel())
