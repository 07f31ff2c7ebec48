"""Reading an adapter's file; its form is described in ``runtime.checkpoint.adapters``. Knows no steps and requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from gristmill.kernels.qtensor import QTensor

from ..checkpoint import Checkpoint, open_checkpoint
from ..checkpoint.adapters import EMBEDDING, SIDES, AdapterBase, adapter_alpha, adapter_targets, mismatch
from ..errors import InvalidFile, cut

__all__ = ["EMBEDDING", "AdapterBase", "Pair", "read_adapter"]

Pair = tuple[torch.Tensor, torch.Tensor]


def read_adapter(path: str, base: AdapterBase, device: torch.device) -> dict[str, Pair]:
    """A and B float32 of a file, by the names of their weights; B is multiplied by alpha / rank.

    Raises UnsupportedModel ``adapter does not match base model: ...``, InvalidFile.
    """
    if not Path(path).is_file():
        raise InvalidFile("the adapter's file is not there; make the model again")
    with open_checkpoint(path) as checkpoint:
        alpha = adapter_alpha(checkpoint.metadata, base)
        return dict(_pairs(checkpoint, adapter_targets(checkpoint.tensors, base), alpha, device))


def _pairs(checkpoint: Checkpoint, names: list[str], alpha: float, device: torch.device) -> Iterator[tuple[str, Pair]]:
    for name in names:
        a, b = (_floats(checkpoint, name + side).to(device) for side in SIDES)
        b = b * (alpha / b.shape[-1] if alpha else 1.0)  # folded in: a step has one factor less
        if not (a.isfinite().all() and b.isfinite().all()):
            raise mismatch(f"{cut(name)} has numbers that are not finite")
        yield name, (a, b)


def _floats(checkpoint: Checkpoint, name: str) -> torch.Tensor:
    return QTensor(checkpoint.tensor(name), checkpoint.tensors[name].format).dequantize()
