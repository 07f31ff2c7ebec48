"""Products with dense weights, and rows of them.

Matrix libraries choose their summation order by the number of rows. So rows are multiplied ``ROW_TILE`` at a time, the
last ones padded: all products with a weight have one shape, and a row's result is the same alone and in any batch
(measured for float32 and bfloat16 with MKL and oneDNN, where it does not depend on the place in the tile; and tested).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from ..dispatch import Weight
from ..qtensor import QTensor
from ..specs import Norm, Projection
from .pointwise import gated, rms_norm

ROW_TILE = 16
_DECODE_CHUNK_ELEMS = 1 << 22  # decoders need several times their result in scratch, so 16 MiB at a time


def decode_rows(tensor: QTensor, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """All values of ``tensor`` as ``dtype`` on ``device``, decoded some rows at a time."""
    rows = tensor.data.reshape(-1, tensor.data.shape[-1])
    out = torch.empty(rows.shape[0], tensor.shape[-1], dtype=dtype, device=device)
    step = max(1, _DECODE_CHUNK_ELEMS // max(1, tensor.shape[-1]))
    for start in range(0, rows.shape[0], step):
        out[start : start + step] = tensor.format.decode(rows[start : start + step].to(device))
    return out.reshape(tensor.shape)


def pad_rows(x: torch.Tensor) -> torch.Tensor:
    """x (n, d) with zero rows appended up to a multiple of ``ROW_TILE``."""
    return functional.pad(x, (0, 0, 0, -x.shape[0] % ROW_TILE)) if x.shape[0] % ROW_TILE else x


def linear(
    x: torch.Tensor,
    w: Weight,
    bias: torch.Tensor | None = None,
    norm: Norm | None = None,
    residual: torch.Tensor | None = None,
) -> torch.Tensor:
    y = rows_times(x if norm is None else rms_norm(x, norm), w.data)
    if bias is not None:
        y = y + bias
    return y if residual is None else residual + y


def linears(x: torch.Tensor, projections: Sequence[Projection], norm: Norm | None = None) -> list[torch.Tensor]:
    x = x if norm is None else rms_norm(x, norm)
    return [linear(x, p.weight, p.bias) for p in projections]


def gated_linear(
    x: torch.Tensor, gate: Projection, up: Projection, activation: str, norm: Norm | None = None
) -> torch.Tensor:
    inner, outer = linears(x, (gate, up), norm)
    return gated(inner, outer, activation)


def rows_times(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """A matrix of few rows is padded as well: it would go the way of a vector."""
    matrix = pad_rows(w) if w.shape[0] < ROW_TILE else w
    tiles = [functional.linear(tile, matrix) for tile in torch.split(pad_rows(x).to(w.dtype), ROW_TILE)]
    y = tiles[0] if len(tiles) == 1 else torch.cat(tiles)
    return y[: x.shape[0], : w.shape[0]].to(torch.float32)


def expert_linear(x: torch.Tensor, w: Weight, experts: torch.Tensor) -> torch.Tensor:
    n, k = experts.shape
    x = x.expand(n, k, x.shape[-1]).reshape(n * k, x.shape[-1])
    flat = experts.reshape(-1)
    out = x.new_empty(n * k, w.shape[1])
    for expert in torch.unique(flat).tolist():
        rows = (flat == expert).nonzero().squeeze(1)
        out[rows] = rows_times(x[rows], w.data[expert])
    return out.reshape(n, k, w.shape[1])


def head_linear(x: torch.Tensor, w: Weight) -> torch.Tensor:
    return torch.stack([rows_times(x[:, head], w.data[head]) for head in range(w.shape[0])], dim=1)


def embedding(ids: torch.Tensor, w: Weight) -> torch.Tensor:
    return functional.embedding(ids, w.data).to(torch.float32)
