"""LoRA adapters as llama.cpp's files hold them, and whether one fits a model. Torch-free: a server asks, too.

Metadata ``general.type`` = adapter, ``adapter.type`` = lora, ``adapter.lora.alpha``, and for each weight NAME (out, in)
two tensors, with a stack of experts in front of each where the weight has one:

    NAME.lora_a (rank, in)    NAME.lora_b (out, rank)    y = W x + alpha / rank * B A x

For token_embd.weight (n_vocab, hidden), lora_a is (n_vocab, rank) and lora_b (hidden, rank): A is looked up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import ModelError, UnsupportedModel, cut
from .base import TensorInfo, Value

__all__ = ["EMBEDDING", "SIDES", "AdapterBase", "adapter_alpha", "adapter_targets", "mismatch"]

EMBEDDING = "token_embd.weight"
SIDES = (".lora_a", ".lora_b")
Shape = tuple[int, ...]


@dataclass(frozen=True)
class AdapterBase:
    """What an adapter must fit: ``shapes`` are those of the weights that something can be added to, by name."""

    architecture: Value | None
    shapes: Mapping[str, Shape]


def adapter_alpha(metadata: Mapping[str, Value], base: AdapterBase) -> float:
    """0, also where the file has none, means a scale of 1, as in llama.cpp. Raises UnsupportedModel."""
    kind = metadata.get("general.type"), metadata.get("adapter.type")
    if kind != ("adapter", "lora"):
        raise mismatch(f"it is of type {cut(kind[0])}, {cut(kind[1])}, not a LoRA adapter")
    architecture = metadata.get("general.architecture")
    if architecture != base.architecture:
        raise mismatch(f"it is for {cut(architecture)}, the model is {cut(base.architecture)}")
    alpha = metadata.get("adapter.lora.alpha", 0.0)
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise mismatch(f"adapter.lora.alpha is {cut(alpha)}")
    return float(alpha)


def adapter_targets(tensors: Mapping[str, TensorInfo], base: AdapterBase) -> list[str]:
    """The weights that an adapter adds to, each with a pair that fits. Raises UnsupportedModel."""
    if any(not name.endswith(SIDES) for name in tensors) or not tensors:
        raise mismatch("its tensors are not pairs of lora_a and lora_b")
    names = sorted({name.rsplit(".", 1)[0] for name in tensors})
    for name in names:
        a, b = (tensors.get(name + side) for side in SIDES)
        if a is None or b is None:
            raise mismatch(f"{cut(name)} has only one of lora_a and lora_b")
        shape = base.shapes.get(name)
        if shape is None:
            raise mismatch(f"the model has no matrix {cut(name)}")
        if not _fits(name, shape, a.shape, b.shape):
            raise mismatch(f"{cut(name)} has the shape {shape}, its pair {a.shape} and {b.shape}")
    return names


def _fits(name: str, shape: Shape, a: Shape, b: Shape) -> bool:
    if name == EMBEDDING:  # A lies the other way round, and so does the weight itself
        shape, a = shape[::-1], a[::-1]
    fits = len(a) == len(b) == len(shape) >= 2 and a[:-2] == b[:-2] == shape[:-2]
    return fits and a[-2] == b[-1] > 0 and (b[-2], a[-1]) == shape[-2:]


def mismatch(why: str) -> ModelError:
    return UnsupportedModel(f"adapter does not match base model: {why}")
