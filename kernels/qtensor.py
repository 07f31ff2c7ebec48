"""A weight as it lies in its file: blocks of bytes, their format and the logical shape."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .formats import Format


@dataclass(frozen=True)
class QTensor:
    """``data``: uint8 (..., row_bytes), often a read-only view of a mapped file, which then must stay open.

    A matrix is (out, in), a stack of experts (experts, out, in), a vector (n,).
    """

    data: torch.Tensor
    format: Format

    def __post_init__(self) -> None:
        if self.data.dtype != torch.uint8:
            raise ValueError(f"blocks must be uint8, got {self.data.dtype}")
        if self.data.shape[-1] % self.format.block_bytes:
            raise ValueError(f"rows of {self.data.shape[-1]} bytes are not whole {self.format.name} blocks")

    @property
    def shape(self) -> tuple[int, ...]:
        n_blocks = self.data.shape[-1] // self.format.block_bytes
        return (*self.data.shape[:-1], n_blocks * self.format.block_elems)

    @property
    def n_bytes(self) -> int:
        return self.data.numel()

    @classmethod
    def dense(cls, x: torch.Tensor) -> QTensor:
        """float32 values as an F32 weight, without a copy where ``x`` is contiguous float32."""
        from .formats import FORMATS

        return cls(x.to(torch.float32).contiguous().view(torch.uint8), FORMATS["F32"])

    def dequantize(self) -> torch.Tensor:
        """float32 values of ``shape``; the exact value of every weight."""
        return self.format.decode(self.data)
