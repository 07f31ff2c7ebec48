"""Whether an adapter fits the model it is for, as far as its header tells."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gristmill.runtime.errors import InvalidRequest, ModelError, cut

from .store import Layer, Store

if TYPE_CHECKING:
    from gristmill.runtime.checkpoint import TensorInfo

__all__ = ["check_adapter"]

_SIDES = (".lora_a", ".lora_b")


def check_adapter(store: Store, adapter: Layer, base: Layer) -> None:
    """Raises InvalidRequest ``adapter does not match base model: ...`` with the part that does not fit."""
    from gristmill.runtime.checkpoint import read_gguf_header

    try:
        header = read_gguf_header(store.blob_path(adapter.digest))
        model = read_gguf_header(store.blob_path(base.digest))
    except ModelError as error:
        raise InvalidRequest(f"{error}") from None
    meta = header.metadata
    if meta.get("adapter.type", "lora") != "lora":
        raise _mismatch(f"adapter.type {cut(meta.get('adapter.type'))} is not supported; supported: lora")
    architectures = [meta.get("general.architecture"), model.metadata.get("general.architecture")]
    if architectures[0] != architectures[1]:
        raise _mismatch(f"it is for {cut(architectures[0])}, the model is {cut(architectures[1])}")
    alpha = meta.get("adapter.lora.alpha", 0.0)
    if not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise _mismatch(f"adapter.lora.alpha is {cut(alpha)}")
    pairs = {name.removesuffix(side) for name in header.tensors for side in _SIDES if name.endswith(side)}
    if not pairs or len(header.tensors) != 2 * len(pairs):
        raise _mismatch("its tensors are not pairs of lora_a and lora_b")
    for name in sorted(pairs):
        _check_pair(name, *(header.tensors[name + side].shape for side in _SIDES), model=model.tensors)


def _check_pair(name: str, a: tuple[int, ...], b: tuple[int, ...], *, model: Mapping[str, TensorInfo]) -> None:
    """``runtime.lora.file`` says how the shapes go together."""
    weight = model.get(name)
    if weight is None:
        raise _mismatch(f"the model has no tensor {cut(name)}")
    # An embedding is looked up: its A lies the other way round, and so does it itself.
    low, whole = (a[::-1], weight.shape[::-1]) if name == "token_embd.weight" else (a, weight.shape)
    fits = len(low) == len(b) == len(whole) >= 2 and low[-2] == b[-1] > 0 and (b[-2], low[-1]) == whole[-2:]
    if not fits or low[:-2] != whole[:-2] or b[:-2] != whole[:-2]:
        raise _mismatch(f"{cut(name)} has the shape {weight.shape}, its pair {a} and {b}")


def _mismatch(why: str) -> InvalidRequest:
    return InvalidRequest(f"adapter does not match base model: {why}")
