"""LoRA adapters beside the weights they are for (Hu et al., arXiv:2106.09685): y = W x + (alpha / rank) B A x.

The weights stay as they are, quantized or not. Any number of adapters is loaded over one model; which of them counts
for which row of a step is said by masks, so that requests with different adapters, and with none, share a batch. Files
are llama.cpp's: ``NAME.lora_a`` (rank, in) and ``NAME.lora_b`` (out, rank).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from gristmill.kernels.ops import Ops
from gristmill.kernels.qtensor import QTensor

from .checkpoint import Checkpoint, TensorInfo, open_checkpoint
from .errors import ModelError, UnsupportedModel, cut

if TYPE_CHECKING:
    from gristmill.kernels.dispatch import Weight

__all__ = ["Adapters", "Mask"]

_SIDES = (".lora_a", ".lora_b")


@dataclass(frozen=True)
class Mask:
    """``rows`` float32 (n_tokens, 1): 1 for the tokens that ``adapter`` counts for, 0 for the others."""

    adapter: str
    rows: torch.Tensor


class Adapters:
    """Those of one model, by the paths of their files. ``active`` are the masks of the step that is being computed.

    All methods are for the thread that computes.
    """

    def __init__(self, ops: Ops, tensors: Mapping[str, TensorInfo], architecture: str):
        self._ops, self._tensors, self._architecture = ops, tensors, architecture
        self._loaded: dict[str, dict[str, tuple[Weight, Weight]]] = {}
        self.active: Sequence[Mask] = ()

    def __contains__(self, path: str) -> bool:
        return path in self._loaded

    def load(self, path: str | os.PathLike[str]) -> str:
        """Read an adapter, unless that was done; returns the name by which it is meant.

        Raises UnsupportedModel ``adapter does not match base model: ...``, InvalidFile.
        """
        name = os.fspath(path)
        if name not in self._loaded:
            with open_checkpoint(name) as checkpoint:
                self._loaded[name] = self._read(checkpoint)
        return name

    def touches(self, tensor: str) -> bool:
        """Whether an active adapter has something to add to this weight."""
        return any(tensor in self._loaded[mask.adapter] for mask in self.active)

    def add(self, tensor: str, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """y (n, out), the product of x (n, in) with a weight, plus what the active adapters add to it."""
        for mask in self.active:
            pair = self._loaded[mask.adapter].get(tensor)
            if pair is not None:
                more = self._ops.linear(self._ops.linear(x, pair[0]), pair[1])
                y = self._ops.add(y, self._ops.scale(more, mask.rows))
        return y

    def _read(self, checkpoint: Checkpoint) -> dict[str, tuple[Weight, Weight]]:
        alpha = self._check(checkpoint)
        pairs = {}
        for name in sorted({name.rsplit(".", 1)[0] for name in checkpoint.tensors}):
            infos = [checkpoint.tensors.get(name + side) for side in _SIDES]
            if None in infos:
                raise _mismatch(f"{cut(name)} has only one of lora_a and lora_b")
            a, b = (QTensor(checkpoint.tensor(info.name), info.format).dequantize() for info in infos if info)
            self._check_pair(name, tuple(a.shape), tuple(b.shape))
            # Folded into B, so that a step has one operator less.
            scaled = b * (alpha / a.shape[0] if alpha else 1.0)
            prepared = (self._ops.prepare(name + s, QTensor.dense(t)) for s, t in zip(_SIDES, (a, scaled), strict=True))
            pairs[name] = (next(prepared), next(prepared))
        return pairs

    def _check(self, checkpoint: Checkpoint) -> float:
        """Returns alpha; 0 where the file has none, which means a scale of 1."""
        meta = checkpoint.metadata
        kind = meta.get("general.type"), meta.get("adapter.type")
        if kind != ("adapter", "lora"):
            raise _mismatch(f"it is of type {cut(kind[0])}, {cut(kind[1])}, not a LoRA adapter")
        if meta.get("general.architecture") != self._architecture:
            raise _mismatch(f"it is for {cut(meta.get('general.architecture'))}, the model is {self._architecture}")
        alpha = meta.get("adapter.lora.alpha", 0.0)
        if not isinstance(alpha, int | float) or not math.isfinite(alpha):
            raise _mismatch(f"adapter.lora.alpha is {cut(alpha)}")
        if any(not name.endswith(_SIDES) for name in checkpoint.tensors) or not checkpoint.tensors:
            raise _mismatch("its tensors are not pairs of lora_a and lora_b")
        return float(alpha)

    def _check_pair(self, name: str, a: tuple[int, ...], b: tuple[int, ...]) -> None:
        info = self._tensors.get(name)
        if info is None:
            raise _mismatch(f"the model has no tensor {cut(name)}")
        if name == "token_embd.weight" or len(info.shape) != 2:
            raise _mismatch(f"{cut(name)}: adapters of embeddings and of experts are not supported")
        if len(a) != 2 or len(b) != 2 or not 0 < a[0] == b[1] or (b[0], a[1]) != info.shape:
            raise _mismatch(f"{cut(name)} has the shape {info.shape}, its pair {a} and {b}")


def _mismatch(why: str) -> ModelError:
    return UnsupportedModel(f"adapter does not match base model: {why}")
