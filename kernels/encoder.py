"""Encoding on all cores: natively where there is an encoder for the format, by the format's own else."""

from __future__ import annotations

import contextlib

import torch

from .cpu.context import CpuContext
from .formats import Format

__all__ = ["Encoder"]

_NATIVE = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")


class Encoder:
    """``n_threads`` 0: as many as this process has cores. ``is_native``: whether there are native encoders at all."""

    def __init__(self, n_threads: int = 0):
        self._context: CpuContext | None = None
        with contextlib.suppress(ImportError):  # then it is slower, as everything is
            self._context = CpuContext(n_threads)

    @property
    def is_native(self) -> bool:
        return self._context is not None

    def __call__(self, x: torch.Tensor, format: Format, imatrix: torch.Tensor | None = None) -> torch.Tensor:
        """As ``Format.encode``: x float32 (..., row_elems), ``imatrix`` (row_elems,) or of x's shape -> uint8."""
        weighs = imatrix if format.weighs else None
        if self._context is None or format.name not in _NATIVE or not x.numel():
            return format.encode(x, imatrix)
        rows = x.to(torch.float32).reshape(-1, x.shape[-1]).contiguous()
        row_bytes = format.row_bytes(rows.shape[1])
        out = torch.empty(len(rows), row_bytes, dtype=torch.uint8)
        weights = None if weighs is None else weighs.to(torch.float32).reshape(-1, rows.shape[1]).contiguous()
        if weights is not None and len(weights) not in (1, len(rows)):
            raise ValueError(f"importance for {len(weights)} rows, not for {len(rows)}")
        self._context.native.encode(
            self._context.handle,
            None,
            n=len(rows),
            format=format.ggml_id,
            cols=rows.shape[1],
            block_elems=format.block_elems,
            block_bytes=format.block_bytes,
            x=rows.data_ptr(),
            importance=0 if weights is None else weights.data_ptr(),
            importance_stride=0 if weights is None or len(weights) == 1 else rows.shape[1],
            out=out.data_ptr(),
        )
        return out.reshape(*x.shape[:-1], row_bytes)
