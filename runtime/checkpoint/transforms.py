"""How a GGUF tensor is made from tensors of a safetensors file, where it is not the same bytes.

The models of this runtime know GGUF's conventions only; this is where Hugging Face's are turned into them, once,
when a tensor is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gristmill.kernels.formats import FORMATS
from gristmill.kernels.lazy import torch

from ..errors import UnsupportedModel, cut
from .base import TensorInfo
from .mapped import MappedFile
from .safetensors_header import Entry, malformed

if TYPE_CHECKING:
    import torch

    Transform = Callable[[list[torch.Tensor]], torch.Tensor]

__all__ = ["Recipe", "constant", "interleave_rope", "plus_one", "stack", "stored"]


@dataclass(frozen=True)
class Recipe:
    """A tensor to be: ``info`` tells what comes out, ``parts`` are the bytes it is made of.

    ``transform``: list of uint8 tensors of the parts' ``byte_shape`` -> uint8 of ``info.byte_shape``; None: the only
    part as it is.
    """

    info: TensorInfo
    parts: tuple[tuple[MappedFile, TensorInfo], ...]
    transform: Transform | None = None

    def tensor(self) -> torch.Tensor:
        """uint8 of shape ``info.byte_shape``: over the mapped file, or freshly made if there is a transform."""
        parts = [file.tensor(info.offset, info.n_bytes).view(info.byte_shape) for file, info in self.parts]
        return parts[0] if self.transform is None else self.transform(parts)

    def raw(self) -> memoryview:
        """The same bytes, flat and read-only."""
        if self.transform is None:
            file, info = self.parts[0]
            return file.view(info.offset, info.n_bytes)
        array: Any = self.tensor().contiguous().numpy()
        return memoryview(array).toreadonly().cast("B")


def stored(name: str, source: str, file: MappedFile, entry: Entry) -> Recipe:
    """The entry ``source`` as the tensor ``name``. Raises UnsupportedModel for a dtype that is no weight format."""
    format = FORMATS.get(entry.dtype)
    if format is None:
        raise UnsupportedModel(f"tensor {cut(source)}: dtype {entry.dtype} is not supported")
    info = TensorInfo(name, format, entry.shape or (1,), entry.begin, entry.end - entry.begin)
    return Recipe(info, ((file, info),))


def interleave_rope(recipe: Recipe, n_heads: int) -> Recipe:
    """Reorder the rows of q or k: Hugging Face rotates halves of a head against each other, GGUF's llama pairs.

    Row ``i`` of a head's first half and row ``i`` of its second become rows ``2 i`` and ``2 i + 1``.
    """
    n_rows = recipe.info.shape[0]
    if n_rows % (2 * n_heads):
        raise malformed(f"tensor {cut(recipe.info.name)}", f"{n_rows} rows are not pairs in {n_heads} heads")

    def transform(parts: list[torch.Tensor]) -> torch.Tensor:
        rows = parts[0].reshape(n_rows, recipe.info.n_bytes // n_rows)
        return rows.view(n_heads, 2, n_rows // n_heads // 2, -1).transpose(1, 2).reshape(parts[0].shape)

    return _made(recipe, recipe.info, transform)


def plus_one(recipe: Recipe) -> Recipe:
    """Gemma's norms multiply by 1 + weight; GGUF holds that sum, in float32."""
    format = recipe.info.format
    float32 = FORMATS["F32"]
    info = replace(recipe.info, format=float32, n_bytes=recipe.info.n_bytes // format.block_bytes * float32.block_bytes)

    def transform(parts: list[torch.Tensor]) -> torch.Tensor:
        return float32.encode(format.decode(parts[0]) + 1)

    return _made(recipe, info, transform)


def stack(name: str, recipes: dict[int, Recipe]) -> Recipe:
    """Experts 0 to n - 1 as one tensor (n, ...). Raises InvalidFile if one is missing or unlike the others."""
    for i in range(len(recipes)):
        if i not in recipes:
            raise malformed(f"tensor {cut(name)}", f"expert {i} is missing")
        if (recipes[i].info.format, recipes[i].info.shape) != (recipes[0].info.format, recipes[0].info.shape):
            raise malformed(f"tensor {cut(name)}", f"expert {i} differs from expert 0 in shape or dtype")
    first = recipes[0].info
    info = TensorInfo(name, first.format, (len(recipes), *first.shape), 0, first.n_bytes * len(recipes))
    parts = tuple(part for i in range(len(recipes)) for part in recipes[i].parts)
    return Recipe(info, parts, lambda parts: torch.stack(parts))


def constant(name: str, values: list[float]) -> Recipe:
    """A float32 vector that the configuration implies."""
    info = TensorInfo(name, FORMATS["F32"], (len(values),), 0, 4 * len(values))
    return Recipe(info, (), lambda parts: FORMATS["F32"].encode(torch.tensor(values, dtype=torch.float32)))


def _made(recipe: Recipe, info: TensorInfo, transform: Transform) -> Recipe:
    assert recipe.transform is None, "transforms do not chain"
    return Recipe(replace(info, offset=0), recipe.parts, transform)
