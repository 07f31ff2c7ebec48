"""Importance matrices: how large the inputs of each weight's columns are when a model reads a text.

An encoder that knows them spends its precision on the columns that matter. For each matrix the sums of squares of its
inputs are collected, by column, and for expert matrices by expert (llama.cpp, tools/imatrix). The operators tell:
no model code knows of this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from gristmill.kernels.dispatch import Backend, Graph, Weight
from gristmill.kernels.ops import Ops
from gristmill.kernels.reference import Call

from ..quantize.imatrix import Importance, ImportanceMatrix
from .windows import Window, window_logits

if TYPE_CHECKING:
    from gristmill.kernels.qtensor import QTensor
    from gristmill.kernels.specs import Norm, Projection

    from ..model import Model

__all__ = ["Listener", "collect_importance", "listening_ops"]

Kernels = dict[tuple[str, str], Callable[..., Any]]


class Listener:
    """A backend that does what another does, and adds up what its products read."""

    def __init__(self, backend: Backend):
        self._backend = backend
        self.name, self.own_threads = backend.name, backend.own_threads
        self.sums: dict[str, torch.Tensor] = {}
        self.counts: dict[str, torch.Tensor] = {}
        self.kernels: Mapping[tuple[str, str], Callable[..., Any]] = dict(backend.kernels) | self._products()

    def prepare(self, name: str, tensor: QTensor, device: torch.device) -> Weight | None:
        return self._backend.prepare(name, tensor, device)

    def capture(self, function: Callable[[], Any]) -> Graph:
        """Steps are not recorded: a replay would not come by here."""
        return Call(function)

    def _products(self) -> Kernels:
        """The operators with weights, by the names that the table knows them by."""
        ways: dict[str, Callable[..., None]] = {
            "linear": lambda x, w, bias=None, norm=None, residual=None: self._hear(x, [w], norm),
            "linears": lambda x, projections, norm=None: self._hear(x, _weights(projections), norm),
            "gated_linear": lambda x, gate, up, activation, norm=None: self._hear(x, _weights((gate, up)), norm),
            "expert_linear": self._hear_experts,
        }
        return {
            key: _first(ways[key[0]], function) for key, function in self._backend.kernels.items() if key[0] in ways
        }

    def _hear(self, x: torch.Tensor, weights: list[Weight], norm: Norm | None) -> None:
        if norm is not None:
            x = self._backend.kernels["rms_norm", "*"](x, norm)
        squares = x.square().sum(0, dtype=torch.float64)[None]
        for w in weights:
            self._add(w.name, squares, torch.tensor([float(x.shape[0])]))

    def _hear_experts(self, x: torch.Tensor, w: Weight, experts: torch.Tensor) -> None:
        rows = x.expand(*experts.shape, x.shape[-1]).flatten(0, 1).square().to(torch.float64)
        squares = torch.zeros(w.shape[0], x.shape[-1], dtype=torch.float64).index_add_(0, experts.flatten(), rows)
        self._add(w.name, squares, torch.bincount(experts.flatten(), minlength=w.shape[0]).float())

    def _add(self, name: str, squares: torch.Tensor, count: torch.Tensor) -> None:
        self.sums[name] = self.sums[name] + squares if name in self.sums else squares
        self.counts[name] = self.counts[name] + count if name in self.counts else count


def _weights(projections: Iterable[Projection]) -> list[Weight]:
    return [p.weight for p in projections]


def _first(hear: Callable[..., None], function: Callable[..., Any]) -> Callable[..., Any]:
    def heard(*args: Any, **options: Any) -> Any:
        hear(*args, **options)
        return function(*args, **options)

    heard.__qualname__ = f"heard {getattr(function, '__qualname__', function)}"
    return heard


def listening_ops(ops: Ops) -> tuple[Ops, Listener]:
    """Operators that do what ``ops`` do, for a model that is yet to be opened, and what hears them."""
    first, *rest = ops.table.backends
    listener = Listener(first)
    return Ops([listener, *rest], ops.device), listener


def collect_importance(
    model: Model,
    listener: Listener,
    windows: Iterable[Window],
    *,
    dataset: str = "",
    on_window: Callable[[int], None] = lambda n: None,
) -> ImportanceMatrix:
    """``model`` reads the windows, whole; it was opened with ``listening_ops``. ``dataset``: where the text is from.

    The output head is left out, as llama.cpp does: it is seldom quantized far, and its inputs are like no other's.
    """
    n_chunks, size = 0, 0
    for window in windows:
        whole = Window(window.tokens, len(window.tokens) - 1)
        for _ in window_logits(model, whole):
            pass
        n_chunks, size = n_chunks + 1, max(size, len(window.tokens))
        on_window(n_chunks)
    head = ("output.weight", "token_embd.weight")
    kept = [name for name in listener.sums if name not in head]
    return ImportanceMatrix(
        entries={name: Importance(listener.sums[name].float(), listener.counts[name]) for name in kept},
        datasets=(dataset,) if dataset else (),
        n_chunks=n_chunks,
        chunk_size=size,
    )
