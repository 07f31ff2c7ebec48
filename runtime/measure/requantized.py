"""A model as it would be with all its matrices in one format: what a format costs, before any file is written."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gristmill.kernels.dispatch import Backend, Graph, Weight
from gristmill.kernels.encoder import Encoder
from gristmill.kernels.ops import Ops
from gristmill.kernels.qtensor import QTensor

if TYPE_CHECKING:
    import torch

    from gristmill.kernels.formats import Format

    from ..quantize.imatrix import ImportanceMatrix

__all__ = ["Requantizing", "requantizing_ops"]


class Requantizing:
    """A backend that encodes every matrix in ``format`` before another backend takes it.

    Matrices whose rows are no whole blocks stay as they are, and so does the embedding that has no row to spare for
    that. ``n_elems`` and ``n_bytes`` count what was encoded, ``n_kept`` the elements that were not, ``encode_s`` the
    seconds it took.
    """

    def __init__(self, backend: Backend, format: Format, importance: ImportanceMatrix | None = None):
        self._backend, self._format, self._importance = backend, format, importance
        self._encoder = Encoder()
        self.name, self.own_threads = backend.name, backend.own_threads
        self.kernels: Mapping[tuple[str, str], Callable[..., Any]] = backend.kernels
        self.n_elems = self.n_bytes = self.n_kept = 0
        self.encode_s = 0.0

    def prepare(self, name: str, tensor: QTensor, device: torch.device) -> Weight | None:
        if tensor.shape[-1] % self._format.block_elems:
            self.n_kept += tensor.n_bytes // tensor.format.block_bytes * tensor.format.block_elems
            return self._backend.prepare(name, tensor, device)
        exact = tensor.dequantize()
        importance = (
            None
            if self._importance is None
            else self._importance.of(name, tensor.shape[0] if len(tensor.shape) == 3 else 1, tensor.shape[-1])
        )
        started = time.perf_counter()
        encoded = QTensor(self._encode(exact, importance), self._format)
        self.encode_s += time.perf_counter() - started
        self.n_elems, self.n_bytes = self.n_elems + exact.numel(), self.n_bytes + encoded.n_bytes
        return self._backend.prepare(name, encoded, device)

    def _encode(self, x: torch.Tensor, importance: torch.Tensor | None) -> torch.Tensor:
        """A stack of experts may have importance for each."""
        if importance is None or x.dim() < 3 or len(importance) == 1:
            return self._encoder(x, self._format, None if importance is None else importance[0])
        import torch

        return torch.stack([self._encoder(rows, self._format, by) for rows, by in zip(x, importance, strict=True)])

    def capture(self, function: Callable[[], Any]) -> Graph | None:
        return self._backend.capture(function)


def requantizing_ops(ops: Ops, format: Format, importance: ImportanceMatrix | None = None) -> tuple[Ops, Requantizing]:
    """Operators for a model that is yet to be opened with ``open_with``. Raises ValueError where nothing encodes it."""
    if format.encode_blocks is None:
        raise ValueError(f"format {format.name} has no encoder")
    first, *rest = ops.table.backends
    backend = Requantizing(first, format, importance)
    return Ops([backend, *rest], ops.device), backend
