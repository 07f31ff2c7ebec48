"""The tensors of a file: formats, sizes, how their values are spread, and how far they are from another file's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InvalidRequest, cut

if TYPE_CHECKING:
    import torch

    from ..checkpoint import Checkpoint
    from ..quantize.imatrix import ImportanceMatrix

__all__ = ["TensorError", "TensorRow", "compare_tensors", "histogram", "tensor_rows"]

_CHUNK_ELEMS = 1 << 22


@dataclass(frozen=True)
class TensorRow:
    """One tensor. ``shape`` is in torch's order."""

    name: str
    format: str
    shape: tuple[int, ...]
    n_bytes: int

    @property
    def n_elems(self) -> int:
        return math.prod(self.shape)

    @property
    def bits_per_weight(self) -> float:
        return 8 * self.n_bytes / max(1, self.n_elems)


def tensor_rows(checkpoint: Checkpoint) -> list[TensorRow]:
    """In the order of the file."""
    return [TensorRow(t.name, t.format.name, t.shape, t.n_bytes) for t in checkpoint.tensors.values()]


@dataclass(frozen=True)
class TensorError:
    """Of a tensor against another of the same name: root mean square, also relative to the other's, the largest error,
    the cosine between the two, and the root mean square weighed by an importance matrix (NaN without one).
    """

    name: str
    rmse: float
    relative: float
    largest: float
    cosine: float
    weighted: float


def compare_tensors(
    checkpoint: Checkpoint, reference: Checkpoint, name: str, importance: ImportanceMatrix | None = None
) -> TensorError:
    """Raises InvalidRequest where the reference has no such tensor, or one of another shape."""
    if name not in reference.tensors:
        raise InvalidRequest(f"tensor {cut(name)} is not in the reference file")
    shapes = checkpoint.tensors[name].shape, reference.tensors[name].shape
    if shapes[0] != shapes[1]:
        raise InvalidRequest(f"tensor {cut(name)}: the shape is {shapes[0]} here and {shapes[1]} in the reference file")
    n_experts = shapes[0][0] if len(shapes[0]) == 3 else 1
    weights = None if importance is None else importance.of(name, n_experts, shapes[0][-1])
    error = squares = mine = product = weighted = total_weight = 0.0
    largest, row = 0.0, 0
    for x, y in zip(_decoded(checkpoint, name), _decoded(reference, name), strict=True):
        d = (x - y).double()
        error += d.square().sum().item()
        squares += y.double().square().sum().item()
        mine += x.double().square().sum().item()
        product += (x.double() * y.double()).sum().item()
        largest = max(largest, d.abs().max().item())
        if weights is not None:
            w = _row_weights(weights, row, len(d), shapes[0])
            weighted += (d.square() * w).sum().item()
            total_weight += w.sum().item() * (len(d) if w.shape[0] == 1 else 1)
        row += len(d)
    n = max(1, math.prod(shapes[0]))
    return TensorError(
        name,
        rmse=math.sqrt(error / n),
        relative=math.sqrt(error / squares) if squares else math.nan,
        largest=largest,
        cosine=product / math.sqrt(mine * squares) if mine and squares else math.nan,
        weighted=math.sqrt(weighted / total_weight) if total_weight else math.nan,
    )


def _row_weights(weights: torch.Tensor, row: int, n: int, shape: tuple[int, ...]) -> torch.Tensor:
    """(1 or n, n_in) for rows ``row`` on of a matrix, or of a stack of experts."""
    import torch

    if len(weights) == 1 or len(shape) < 3:
        return weights[:1].double()
    return weights[torch.arange(row, row + n) // shape[-2]].double()


def histogram(checkpoint: Checkpoint, name: str, n_bins: int = 40) -> tuple[list[float], list[int]]:
    """Edges (n_bins + 1) and counts (n_bins) of a tensor's values, from its smallest to its largest finite one."""
    import torch

    low, high = math.inf, -math.inf
    for x in _decoded(checkpoint, name):
        finite = x[x.isfinite()]
        if finite.numel():
            low, high = min(low, finite.min().item()), max(high, finite.max().item())
    if not math.isfinite(low):
        return [0.0, 0.0], [0]
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts = torch.zeros(n_bins, dtype=torch.float64)
    for x in _decoded(checkpoint, name):
        counts += torch.histc(x[x.isfinite()].double(), n_bins, low, high)
    return torch.linspace(low, high, n_bins + 1, dtype=torch.float64).tolist(), [int(n) for n in counts]


def _decoded(checkpoint: Checkpoint, name: str) -> Iterator[torch.Tensor]:
    """float32 (rows, n_in), some rows at a time."""
    data, form = checkpoint.tensor(name), checkpoint.tensors[name].format
    rows = data.reshape(-1, data.shape[-1]) if data.dim() else data.reshape(1, -1)
    n_in = max(1, rows.shape[-1] // form.block_bytes * form.block_elems)
    step = max(1, _CHUNK_ELEMS // n_in)
    for start in range(0, len(rows), step):
        yield form.decode(rows[start : start + step])
    checkpoint.release(name)
