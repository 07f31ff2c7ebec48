"""Pulling a model's tensors out of a checkpoint by name: shapes checked, nothing missed, nothing left over."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from gristmill.kernels import FORMATS
from gristmill.kernels.dispatch import Weight
from gristmill.kernels.ops import Ops
from gristmill.kernels.qtensor import QTensor

from .errors import UnsupportedModel
from .lora import Adapters

if TYPE_CHECKING:
    from .checkpoint import Checkpoint

FLOATS = ("F32", "F16", "BF16")
# Tensors that no forward pass reads: activation scales of calibrated files.
UNUSED_SUFFIXES = (".input_scale",)


class Weights:
    """The tensors of one checkpoint, prepared for ``ops``. ``on_progress(done, total)`` counts their bytes."""

    def __init__(self, checkpoint: Checkpoint, ops: Ops, on_progress: Callable[[int, int], None] | None = None):
        self.ops = ops
        self.adapters = Adapters(ops, str(checkpoint.metadata.get("general.architecture")))
        self._checkpoint = checkpoint
        self._prepared: dict[str, Weight] = {}
        self._read: set[str] = set()
        self._on_progress = on_progress
        self._total = sum(info.n_bytes for info in checkpoint.tensors.values())
        self._done = 0

    def __contains__(self, name: str) -> bool:
        return name in self._checkpoint.tensors

    def shape(self, name: str) -> tuple[int, ...]:
        """Raises UnsupportedModel where the tensor is missing."""
        if name not in self:
            raise UnsupportedModel(f"tensor {name}: missing")
        return self._checkpoint.tensors[name].shape

    def matrix(self, name: str, *shape: int, rows: torch.Tensor | None = None) -> Weight:
        """A weight for ``linear``, ``expert_linear``, ``head_linear`` or ``embedding``; a name gives the same object.

        A first dimension of 1 may be missing in the file, as GGUF leaves it out. ``rows``: the order in which they are
        wanted, where it is not the file's.
        """
        if name not in self._prepared:
            if self.shape(name) and self._checkpoint.tensors[name].format.name not in FORMATS:
                raise self._wrong_format(name, "the formats of weights")
            taken = self._take(name, shape)
            taken = taken if rows is None else QTensor(taken.data[rows], taken.format)
            self._prepared[name] = self.ops.prepare(name, taken)
            self._checkpoint.release(name)
        return self._prepared[name]

    def vector(self, name: str, *shape: int) -> torch.Tensor:
        """A small float tensor (norm, bias, scale, frequencies) as float32. Quantized ones are refused."""
        tensor = self._take(name, shape)
        if tensor.format.name not in FLOATS:
            raise self._wrong_format(name, ", ".join(FLOATS))
        return tensor.dequantize().clone().to(self.ops.device)

    def optional_vector(self, name: str, *shape: int) -> torch.Tensor | None:
        return self.vector(name, *shape) if name in self else None

    def ignore(self, *names: str) -> None:
        """Tensors that this model may hold and that its forward pass does not need."""
        self._read.update(names)

    def ignore_layers(self, first: int) -> None:
        """Tensors of layers from ``first`` on."""
        for name in self._checkpoint.tensors:
            layer = name.removeprefix("blk.").partition(".")[0]
            if name.startswith("blk.") and layer.isdecimal() and int(layer) >= first:
                self._read.add(name)

    def finish(self) -> None:
        """Raises UnsupportedModel when the checkpoint holds tensors that nothing has read."""
        left = [n for n in self._checkpoint.tensors if n not in self._read and not n.endswith(UNUSED_SUFFIXES)]
        if left:
            more = f" and {len(left) - 3} more" if len(left) > 3 else ""
            raise UnsupportedModel(f"tensors are not part of this architecture: {', '.join(left[:3])}{more}")

    def _wrong_format(self, name: str, supported: str) -> UnsupportedModel:
        found = self._checkpoint.tensors[name].format.name
        return UnsupportedModel(f"tensor {name}: format {found} is not supported here; supported: {supported}")

    def _take(self, name: str, shape: tuple[int, ...]) -> QTensor:
        found = self.shape(name)
        is_one = len(shape) > 1 and found == shape[1:] and shape[0] == 1
        if found != shape and not is_one:
            raise UnsupportedModel(f"tensor {name}: expected shape {shape}, got {found}")
        self._read.add(name)
        info = self._checkpoint.tensors[name]
        self._done += info.n_bytes
        if self._on_progress is not None:
            self._on_progress(self._done, self._total)
        data = self._checkpoint.tensor(name)
        return QTensor(data[None] if is_one else data, info.format)
