"""What a weight format is: one row of the table, with a reference decoder and, where there is one, an encoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..lazy import torch

if TYPE_CHECKING:
    BlockDecoder = Callable[[torch.Tensor], torch.Tensor]
    BlockEncoder = Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]


_ALIGNMENT = 4  # bytes of the widest number that a decoder views blocks as


@dataclass(frozen=True)
class Format:
    """A weight format. Rows of a tensor are encoded apart, ``block_elems`` elements into ``block_bytes`` bytes.

    ``decode_blocks``: uint8 (n_blocks, block_bytes) -> float32 (n_blocks, block_elems).
    ``encode_blocks``: float32 (n_blocks, block_elems), importance of the same shape or None -> uint8 blocks.
    Both run on any device that torch knows. ``ggml_id`` is the type number in a GGUF file, None where GGUF
    does not know the format. ``weighs``: whether the encoder takes an importance.
    """

    name: str
    ggml_id: int | None
    block_elems: int
    block_bytes: int
    decode_blocks: BlockDecoder
    encode_blocks: BlockEncoder | None = None
    weighs: bool = True

    @property
    def bits_per_weight(self) -> float:
        return self.block_bytes * 8 / self.block_elems

    def row_bytes(self, n_elems: int) -> int:
        """Bytes of a row of ``n_elems`` elements. Raises ValueError unless it is a whole number of blocks."""
        if n_elems % self.block_elems:
            raise ValueError(f"a row of {n_elems} elements is not whole {self.name} blocks of {self.block_elems}")
        return n_elems // self.block_elems * self.block_bytes

    def decode(self, rows: torch.Tensor) -> torch.Tensor:
        """uint8 (..., row_bytes) -> float32 (..., row_elems). Raises ValueError for a partial block."""
        if rows.shape[-1] % self.block_bytes:
            raise ValueError(
                f"a row of {rows.shape[-1]} bytes is not whole {self.name} blocks of {self.block_bytes} bytes"
            )
        shape = (*rows.shape[:-1], rows.shape[-1] // self.block_bytes * self.block_elems)
        if not rows.numel():
            return rows.new_zeros(shape, dtype=torch.float32)
        blocks = rows.reshape(-1, self.block_bytes)
        if blocks.storage_offset() % _ALIGNMENT:
            blocks = blocks.clone()  # a view of wider numbers must begin at a multiple of their size
        return self.decode_blocks(blocks).reshape(shape)

    def encode(self, x: torch.Tensor, imatrix: torch.Tensor | None = None) -> torch.Tensor:
        """float32 (..., row_elems) -> uint8 (..., row_bytes); ``imatrix`` (row_elems,) weighs the columns,
        where the encoder takes it.

        Raises ValueError for a partial block and for a format that has no encoder.
        """
        if self.encode_blocks is None:
            raise ValueError(f"format {self.name} has no encoder")
        row_bytes = self.row_bytes(x.shape[-1])
        if not x.numel():
            return x.new_zeros((*x.shape[:-1], row_bytes), dtype=torch.uint8)
        importance = None
        if imatrix is not None and self.weighs:
            importance = imatrix.expand(x.shape).reshape(-1, self.block_elems)
        blocks = self.encode_blocks(x.reshape(-1, self.block_elems), importance)
        return blocks.reshape(*x.shape[:-1], row_bytes)
