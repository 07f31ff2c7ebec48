"""Encoding on all cores: natively where there is an encoder for the format, else by the format's own, part by part."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch

from .cpu.context import CpuContext
from .cpu.cores import physical_cores
from .formats import Format

__all__ = ["Encoder", "one_torch_thread"]

_NATIVE: tuple[str, ...] = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")
_NATIVE += ("IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ1_S", "IQ1_M")
_NATIVE += ("IQ4_NL", "IQ4_XS", "MXFP4", "NVFP4", "TQ1_0", "TQ2_0")
_LEAST_ELEMS = 1 << 14  # that a thread is worth


@contextlib.contextmanager
def one_torch_thread() -> Iterator[None]:
    """Torch's threads meet at the end of every operation, and here these are short: where other programs take cores,
    waiting costs ten times the work. The threads of an ``Encoder`` do not wait for each other.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Encoder:
    """``n_threads`` 0: as many as this process has cores. ``is_native``: whether there are native encoders at all."""

    def __init__(self, n_threads: int = 0):
        self._context: CpuContext | None = None
        with contextlib.suppress(ImportError):  # then it is slower, as everything is
            self._context = CpuContext(n_threads)
        self._n_threads = n_threads if n_threads > 0 else physical_cores()
        self._pool = ThreadPoolExecutor(self._n_threads, "encoder")

    @property
    def is_native(self) -> bool:
        return self._context is not None

    def __call__(self, x: torch.Tensor, format: Format, imatrix: torch.Tensor | None = None) -> torch.Tensor:
        """As ``Format.encode``: x float32 (..., row_elems), ``imatrix`` (row_elems,) or of x's shape -> uint8."""
        if not x.numel():
            return format.encode(x, imatrix)
        rows = x.to(torch.float32).reshape(-1, x.shape[-1]).contiguous()
        weights = _weights(rows, imatrix) if format.weighs and imatrix is not None else None
        if self._context is not None and format.name in _NATIVE:
            out = self._natively(self._context, rows, format, weights)
        else:
            out = self._in_parts(rows, format, weights)
        return out.reshape(*x.shape[:-1], out.shape[-1])

    def _natively(
        self, context: CpuContext, rows: torch.Tensor, format: Format, weights: torch.Tensor | None
    ) -> torch.Tensor:
        out = torch.empty(len(rows), format.row_bytes(rows.shape[1]), dtype=torch.uint8)
        context.native.encode(
            context.handle,
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
        return out

    def _in_parts(self, rows: torch.Tensor, format: Format, weights: torch.Tensor | None) -> torch.Tensor:
        """A part for each thread: what a row becomes does not depend on the others."""
        n = max(1, min(self._n_threads, rows.numel() // _LEAST_ELEMS))
        parts = rows.chunk(n)
        if weights is None or len(weights) == 1:
            by_part = [None if weights is None else weights[0]] * len(parts)
        else:
            by_part = list(weights.chunk(n))
        with one_torch_thread():
            return torch.cat(list(self._pool.map(format.encode, parts, by_part)))


def _weights(rows: torch.Tensor, imatrix: torch.Tensor) -> torch.Tensor:
    """float32 (1 or n, row_elems)"""
    weights = imatrix.to(torch.float32).reshape(-1, rows.shape[1]).contiguous()
    if len(weights) not in (1, len(rows)):
        raise ValueError(f"importance for {len(weights)} rows, not for {len(rows)}")
    return weights
