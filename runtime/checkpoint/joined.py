"""GGUF tensors that are made of several of a folder: experts, and quantized weights with their scales."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gristmill.kernels.formats import FORMATS
from gristmill.kernels.lazy import torch

from ..errors import UnsupportedModel, cut
from .base import TensorInfo
from .safetensors_header import malformed
from .transforms import BYTES, Recipe

if TYPE_CHECKING:
    import torch

__all__ = ["dequantized", "join"]


def join(name: str, parts: Mapping[int | str | None, Recipe]) -> Recipe:
    """The tensor ``name`` of all its parts: itself (None), members by number, or "blocks" and "scales".

    Raises InvalidFile where they are not one tensor, UnsupportedModel where its elements are no weights.
    """
    pieces = {key: part for key, part in parts.items() if isinstance(key, str)}
    if pieces:
        return _mxfp4(name, pieces)
    made = parts[None] if len(parts) == 1 and None in parts else _stack(name, parts)
    if made.info.format is BYTES:
        raise UnsupportedModel(f"tensor {cut(name)}: dtype {BYTES.name} is not supported")
    return made


def dequantized(recipe: Recipe, scales: Recipe, block: tuple[int, int] | None) -> Recipe:
    """Blocks of ``block`` elements (n_out, n_in) times the one of ``scales`` for each, or all times the only one: in
    BF16, whose error is far below that of 8 bits. Raises InvalidFile where the scales are not as many."""
    info, n_scales = recipe.info, scales.info.shape
    expected: tuple[int, ...] = (1,)
    if block is not None and len(info.shape) == 2:
        expected = (math.ceil(info.shape[0] / block[0]), math.ceil(info.shape[1] / block[1]))
    if n_scales != expected:
        raise malformed(f"tensor {cut(scales.info.name)}", f"shape {n_scales} is not {expected}, that of the scales")
    bf16 = FORMATS["BF16"]

    def read() -> torch.Tensor:
        factors = scales.info.format.decode(scales.tensor()).reshape(expected)
        if block is not None and len(expected) == 2:
            factors = factors.repeat_interleave(block[0], 0).repeat_interleave(block[1], 1)
            factors = factors[: info.shape[0], : info.shape[1]]
        return bf16.encode(info.format.decode(recipe.tensor()) * factors)

    return Recipe(TensorInfo(info.name, bf16, info.shape, 0, bf16.block_bytes * math.prod(info.shape)), read)


def _mxfp4(name: str, pieces: Mapping[str, Recipe]) -> Recipe:
    """blocks U8 (..., n, 16), element 2 i in the lower half of byte i; scales U8 (..., n) -> MXFP4 (..., 32 n).

    GGUF's blocks are a scale and 16 bytes, element i in the lower half of byte i and i + 16 in the upper.
    """
    if pieces.keys() != {"blocks", "scales"}:
        raise malformed(f"tensor {cut(name)}", f"has only {', '.join(pieces)}, not blocks and scales")
    blocks, scales = pieces["blocks"], pieces["scales"]
    shape = scales.info.shape
    if {blocks.info.format.name, scales.info.format.name} != {BYTES.name} or blocks.info.shape != (*shape, 16):
        raise malformed(f"tensor {cut(name)}", f"blocks {blocks.info.shape} and scales {shape} do not fit")

    def read() -> torch.Tensor:
        packed = blocks.tensor().reshape(*shape, 16)
        elements = torch.stack([packed & 15, packed >> 4], -1).flatten(-2)
        joined = elements[..., :16] | elements[..., 16:] << 4
        return torch.cat([scales.tensor().reshape(*shape, 1), joined], -1).flatten(-2)

    info = TensorInfo(name, FORMATS["MXFP4"], (*shape[:-1], 32 * shape[-1]), 0, blocks.info.n_bytes // 16 * 17)
    return Recipe(info, read)


def _stack(name: str, parts: Mapping[int | str | None, Recipe]) -> Recipe:
    """Experts 0 to n - 1 as one tensor (n, ...). Raises InvalidFile if one is missing or unlike the others."""
    for i in range(len(parts)):
        if i not in parts:
            raise malformed(f"tensor {cut(name)}", f"expert {i} is missing")
        if (parts[i].info.format, parts[i].info.shape) != (parts[0].info.format, parts[0].info.shape):
            raise malformed(f"tensor {cut(name)}", f"expert {i} differs from expert 0 in shape or dtype")
    first, n = parts[0].info, len(parts)
    info = TensorInfo(name, first.format, (n, *first.shape), 0, first.n_bytes * n)
    return Recipe(info, lambda: torch.stack([parts[i].tensor() for i in range(n)]))
