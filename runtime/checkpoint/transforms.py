"""How a GGUF tensor is made from tensors of a safetensors file, where it is not the same bytes.

The models of this runtime know GGUF's conventions only; this is where Hugging Face's are turned into them, once,
when a tensor is read. A ``Transform`` is one such step; steps follow one another (``chain``). Those that put several
tensors together are in ``joined``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, Any

from gristmill.kernels.formats import FORMATS, Format
from gristmill.kernels.lazy import torch

from ..errors import UnsupportedModel, cut
from .base import TensorInfo, Value
from .mapped import MappedFile
from .safetensors_header import Entry, malformed

if TYPE_CHECKING:
    import torch

__all__ = [
    "BYTES",
    "Recipe",
    "Sizes",
    "Transform",
    "chain",
    "constant",
    "experts_apart",
    "first_row",
    "hidden_at",
    "interleave_rope",
    "interleaved_rows",
    "keys_of_latent",
    "plus_one",
    "q_k_v_of_groups",
    "rows",
    "stored",
    "transposed",
    "values_of_latent",
]  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """A tensor to be: ``info`` tells what comes out, ``read`` makes it: uint8 of ``info.byte_shape``.

    ``file``: where it is stored just so, at the offset in ``info``; None where it is made.
    """

    info: TensorInfo
    read: Callable[[], torch.Tensor]
    file: MappedFile | None = None

    def tensor(self) -> torch.Tensor:
        """uint8 of shape ``info.byte_shape``: over the mapped file, or freshly made."""
        return self.read()

    def raw(self) -> memoryview:
        """The same bytes, flat and read-only."""
        if self.file is not None:
            return self.file.view(self.info.offset, self.info.n_bytes)
        array: Any = self.tensor().contiguous().numpy()
        return memoryview(array).toreadonly().cast("B")


@dataclass(frozen=True)
class Sizes:
    """What a model's metadata says and transforms need to know. ``head_dim`` and ``rope_dim`` are elements per head."""

    hidden_size: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    rope_dim: int
    n_experts: int
    still_dim: int = 0  # of latent attention: a head's key without what turns, and its value
    value_dim: int = 0

    @classmethod
    def of(cls, metadata: Mapping[str, Value], architecture: str) -> Sizes:
        """Of a model's metadata."""

        def count(key: str, default: int) -> int:
            value = metadata.get(f"{architecture}.{key}", default)
            return value if isinstance(value, int) else default

        hidden_size, n_heads = count("embedding_length", 0), count("attention.head_count", 1)
        head_dim = count("attention.key_length", hidden_size // max(1, n_heads))
        rope_dim = count("rope.dimension_count", head_dim)
        return cls(
            hidden_size=hidden_size,
            n_heads=n_heads,
            n_kv_heads=count("attention.head_count_kv", n_heads),
            head_dim=head_dim,
            rope_dim=rope_dim,
            n_experts=count("expert_count", 0),
            still_dim=max(0, count("attention.key_length_mla", 0) - rope_dim),
            value_dim=count("attention.value_length_mla", 0),
        )


Transform = Callable[[Recipe, Sizes], Recipe]
# Bytes that only become weights together with others.
BYTES = Format("U8", None, 1, 1, lambda blocks: blocks.to(torch.float32))


def stored(name: str, source: str, file: MappedFile, entry: Entry) -> Recipe:
    """The entry ``source`` as the tensor ``name``. Raises UnsupportedModel for a dtype that is no weight format."""
    format = BYTES if entry.dtype == BYTES.name else FORMATS.get(entry.dtype)
    if format is None:
        raise UnsupportedModel(f"tensor {cut(source)}: dtype {entry.dtype} is not supported")
    info = TensorInfo(name, format, entry.shape or (1,), entry.begin, entry.end - entry.begin)
    return Recipe(info, lambda: file.tensor(info.offset, info.n_bytes).view(info.byte_shape), file)


def chain(*transforms: Transform) -> Transform:
    """One after the other."""
    return lambda recipe, sizes: reduce(lambda made, transform: transform(made, sizes), transforms, recipe)


def interleave_rope(recipe: Recipe, n_heads: int, rope_dim: int) -> Recipe:
    """Reorder the rows of q or k: Hugging Face turns halves of a head against each other, GGUF's llama pairs."""
    n_rows = recipe.info.shape[0]
    if n_rows % (2 * n_heads):
        raise _misshapen(recipe, f"{n_rows} rows are not pairs in {n_heads} heads")
    return _moved(recipe, recipe.info.shape, lambda x: interleaved_rows(x, n_heads, rope_dim))


def interleaved_rows(x: torch.Tensor, n_heads: int, rope_dim: int) -> torch.Tensor:
    """x (n_heads * head_dim, ...): row ``i`` of the first half of a head's ``rope_dim`` rows and row ``i`` of the
    second become rows ``2 i`` and ``2 i + 1``; rows that are not turned stay."""
    heads = x.reshape(n_heads, x.shape[0] // n_heads, *x.shape[1:])
    turned = heads[:, :rope_dim].reshape(n_heads, 2, rope_dim // 2, *x.shape[1:]).transpose(1, 2).flatten(1, 2)
    return torch.cat([turned, heads[:, rope_dim:]], 1).reshape(x.shape)


def plus_one(recipe: Recipe) -> Recipe:
    """Gemma's norms multiply by 1 + weight; GGUF holds that sum, in float32."""
    format, float32 = recipe.info.format, FORMATS["F32"]
    n_bytes = recipe.info.n_bytes // format.block_bytes * float32.block_bytes
    info = replace(recipe.info, format=float32, n_bytes=n_bytes, offset=0)
    return Recipe(info, lambda: float32.encode(format.decode(recipe.tensor()) + 1))


def transposed(recipe: Recipe, sizes: Sizes) -> Recipe:
    """(..., n_in, n_out) -> (..., n_out, n_in). Vectors stay."""
    shape = recipe.info.shape
    if len(shape) < 2:
        return recipe
    return _moved(recipe, (*shape[:-2], shape[-1], shape[-2]), lambda x: x.transpose(-3, -2))


def hidden_at(dim: int) -> Transform:
    """Transposed where that brings the width of the model to ``dim``, -1 or -2: folders have it either way."""

    def transform(recipe: Recipe, sizes: Sizes) -> Recipe:
        is_there = recipe.info.shape[dim:][:1] == (sizes.hidden_size,)
        return recipe if is_there else transposed(recipe, sizes)

    return transform


def rows(start: int, step: int = 1, *, dim: int = -2) -> Transform:
    """Half of a tensor along ``dim``: the first (``start`` 0) or the second (1) of two parts, or with ``step`` 2
    every second element from ``start`` on."""

    def transform(recipe: Recipe, sizes: Sizes) -> Recipe:
        shape = list(recipe.info.shape)
        if len(shape) < -dim or shape[dim] % 2:
            raise _misshapen(recipe, f"shape {tuple(shape)} has no two equal parts")
        half = shape[dim] // 2
        shape[dim] = half
        part = slice(start, None, 2) if step == 2 else slice(start * half, (start + 1) * half)
        index = (..., part, *[slice(None)] * -dim)  # bytes are one dimension more
        return _moved(recipe, tuple(shape), lambda x: x[index])

    return transform


def q_k_v_of_groups(recipe: Recipe, sizes: Sizes) -> Recipe:
    """Rows of a fused matrix, or elements of its bias, that come as [queries of a group, its key, its value] for each
    key head -> all queries, all keys, all values."""
    shape, n_groups = recipe.info.shape, sizes.n_kv_heads
    per_group = sizes.n_heads // n_groups + 2
    if shape[0] != n_groups * per_group * sizes.head_dim:
        raise _misshapen(recipe, f"{shape[0]} rows are not {n_groups} groups of {per_group} heads")

    def change(x: torch.Tensor) -> torch.Tensor:
        groups = x.reshape(n_groups, per_group, -1)
        parts = (groups[:, :-2], groups[:, -2], groups[:, -1])
        return torch.cat([part.reshape(-1) for part in parts]).reshape(x.shape)

    return _moved(recipe, shape, change)


def experts_apart(recipe: Recipe, sizes: Sizes) -> Recipe:
    """(n_experts * n, m) -> (n_experts, n, m)."""
    shape, n = recipe.info.shape, sizes.n_experts
    if len(shape) != 2 or not n or shape[0] % n:
        raise _misshapen(recipe, f"shape {shape} is not that of {n} experts")
    return _moved(recipe, (n, shape[0] // n, shape[1]), lambda x: x.reshape(n, -1, *x.shape[1:]))


def keys_of_latent(recipe: Recipe, sizes: Sizes) -> Recipe:
    """(n_heads * (still_dim + value_dim), rank), a head's key before its value -> keys (n_heads, rank, still_dim)."""
    heads, rank = _latent_heads(recipe, sizes), recipe.info.shape[1]
    shape = (sizes.n_heads, rank, sizes.still_dim)
    return _moved(recipe, shape, lambda x: heads(x)[:, : sizes.still_dim].transpose(1, 2))


def values_of_latent(recipe: Recipe, sizes: Sizes) -> Recipe:
    """As ``keys_of_latent`` -> values (n_heads, value_dim, rank)."""
    heads, rank = _latent_heads(recipe, sizes), recipe.info.shape[1]
    return _moved(recipe, (sizes.n_heads, sizes.value_dim, rank), lambda x: heads(x)[:, sizes.still_dim :])


def _latent_heads(recipe: Recipe, sizes: Sizes) -> Callable[[torch.Tensor], torch.Tensor]:
    shape, per_head = recipe.info.shape, sizes.still_dim + sizes.value_dim
    if len(shape) != 2 or shape[0] != sizes.n_heads * per_head:
        raise _misshapen(recipe, f"shape {shape} is not that of {sizes.n_heads} heads of {per_head}")
    return lambda x: x.reshape(sizes.n_heads, per_head, *x.shape[1:])


def first_row(recipe: Recipe, sizes: Sizes) -> Recipe:
    """(1, n) -> (n,)."""
    shape = recipe.info.shape
    if len(shape) != 2 or shape[0] != 1:
        raise _misshapen(recipe, f"shape {shape} is not one row")
    return _moved(recipe, shape[1:], lambda x: x[0])


def constant(name: str, values: list[float]) -> Recipe:
    """A float32 vector that the configuration implies."""
    info = TensorInfo(name, FORMATS["F32"], (len(values),), 0, 4 * len(values))
    return Recipe(info, lambda: FORMATS["F32"].encode(torch.tensor(values, dtype=torch.float32)))


def _moved(recipe: Recipe, shape: tuple[int, ...], change: Callable[[torch.Tensor], torch.Tensor]) -> Recipe:
    """The same elements, or some of them, elsewhere. ``change``: uint8 (*before, bytes) -> (*shape, bytes)."""
    before, size = recipe.info, recipe.info.format.block_bytes
    assert before.format.block_elems == 1, "safetensors hold plain elements"
    n_bytes = size
    for n in shape:
        n_bytes *= n
    info = replace(before, shape=shape, offset=0, n_bytes=n_bytes)
    return Recipe(
        info, lambda: change(recipe.tensor().reshape(*before.shape, size)).contiguous().reshape(info.byte_shape)
    )


def _misshapen(recipe: Recipe, reason: str) -> Exception:
    return malformed(f"tensor {cut(recipe.info.name)}", reason)
