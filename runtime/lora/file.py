"""Reading an adapter's file, and whether it fits the model. Knows nothing of steps and requests.

The form is llama.cpp's: metadata ``general.type`` = adapter, ``adapter.type`` = lora, ``adapter.lora.alpha``, and for
each weight NAME (out, in) two tensors, with a stack of experts in front of each where the weight has one:

    NAME.lora_a (rank, in)    NAME.lora_b (out, rank)    y = W x + alpha / rank * B A x

For token_embd.weight (n_vocab, hidden), lora_a is (n_vocab, rank) and lora_b (hidden, rank): A is looked up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from gristmill.kernels.qtensor import QTensor

from ..checkpoint import Checkpoint, open_checkpoint
from ..errors import InvalidFile, ModelError, UnsupportedModel, cut

__all__ = ["EMBEDDING", "Base", "Pair", "read_adapter"]

EMBEDDING = "token_embd.weight"
Pair = tuple[torch.Tensor, torch.Tensor]
_SIDES = (".lora_a", ".lora_b")


@dataclass(frozen=True)
class Base:
    """What an adapter must fit: ``shapes`` are those of the weights that something can be added to."""

    architecture: str
    shapes: Mapping[str, tuple[int, ...]]


def read_adapter(path: str, base: Base, device: torch.device) -> dict[str, Pair]:
    """A and B float32 of a file, by the names of their weights; B is multiplied by alpha / rank.

    Raises UnsupportedModel ``adapter does not match base model: ...``, InvalidFile.
    """
    if not Path(path).is_file():
        raise InvalidFile("the adapter's file is not there; make the model again")
    with open_checkpoint(path) as checkpoint:
        alpha = _check(checkpoint, base)
        return dict(_pairs(checkpoint, base, alpha, device))


def _check(checkpoint: Checkpoint, base: Base) -> float:
    """Returns alpha; 0, also where the file has none, means a scale of 1, as in llama.cpp."""
    meta = checkpoint.metadata
    kind = meta.get("general.type"), meta.get("adapter.type")
    if kind != ("adapter", "lora"):
        raise _mismatch(f"it is of type {cut(kind[0])}, {cut(kind[1])}, not a LoRA adapter")
    if meta.get("general.architecture") != base.architecture:
        raise _mismatch(f"it is for {cut(meta.get('general.architecture'))}, the model is {base.architecture}")
    alpha = meta.get("adapter.lora.alpha", 0.0)
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise _mismatch(f"adapter.lora.alpha is {cut(alpha)}")
    if any(not name.endswith(_SIDES) for name in checkpoint.tensors) or not checkpoint.tensors:
        raise _mismatch("its tensors are not pairs of lora_a and lora_b")
    return float(alpha)


def _pairs(checkpoint: Checkpoint, base: Base, alpha: float, device: torch.device) -> Iterator[tuple[str, Pair]]:
    for name in sorted({name.rsplit(".", 1)[0] for name in checkpoint.tensors}):
        infos = [checkpoint.tensors.get(name + side) for side in _SIDES]
        if None in infos:
            raise _mismatch(f"{cut(name)} has only one of lora_a and lora_b")
        _check_shapes(name, base, *(info.shape for info in infos if info))
        a, b = (QTensor(checkpoint.tensor(info.name), info.format).dequantize().to(device) for info in infos if info)
        b = b * (alpha / b.shape[-1] if alpha else 1.0)  # folded in: a step has one factor less
        if not (a.isfinite().all() and b.isfinite().all()):
            raise _mismatch(f"{cut(name)} has numbers that are not finite")
        yield name, (a, b)


def _check_shapes(name: str, base: Base, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    shape = base.shapes.get(name)
    if shape is None:
        raise _mismatch(f"the model has no matrix {cut(name)}")
    if name == EMBEDDING:
        fits = len(a) == len(b) == 2 and a[1] == b[1] > 0 and (a[0], b[0]) == shape
    else:
        fits = len(a) == len(b) == len(shape) and a[:-2] == b[:-2] == shape[:-2]
        fits = fits and a[-2] == b[-1] > 0 and (b[-2], a[-1]) == shape[-2:]
    if not fits:
        raise _mismatch(f"{cut(name)} has the shape {shape}, its pair {a} and {b}")


def _mismatch(why: str) -> ModelError:
    return UnsupportedModel(f"adapter does not match base model: {why}")
