"""Rows and elements go where GGUF has them, compared with loops over single elements."""

from dataclasses import replace

import pytest
import torch

from gristmill.kernels.formats import FORMATS
from gristmill.runtime.checkpoint.base import TensorInfo
from gristmill.runtime.checkpoint.joined import join
from gristmill.runtime.checkpoint.transforms import (
    Recipe,
    Sizes,
    chain,
    experts_apart,
    first_row,
    hidden_at,
    interleave_rope,
    keys_of_latent,
    q_k_v_of_groups,
    rows,
    transposed,
    values_of_latent,
)
from gristmill.runtime.errors import InvalidFile

SIZES = Sizes(hidden_size=5, n_heads=4, n_kv_heads=2, head_dim=6, rope_dim=4, n_experts=3)
DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F8_E4M3": torch.float8_e4m3fn}


def recipe_of(tensor, name="F32"):
    """Of a tensor in memory."""
    format = FORMATS[name]
    data = tensor.to(DTYPES[name]).contiguous().view(torch.uint8)
    info = TensorInfo("t", format, tuple(tensor.shape), 64, data.numel())
    return Recipe(info, lambda: data.reshape(info.byte_shape))


def values(recipe):
    tensor = recipe.tensor()
    assert tensor.shape == recipe.info.byte_shape
    assert tensor.numel() == recipe.info.n_bytes == len(recipe.raw())
    return recipe.info.format.decode(tensor)


def numbered(*shape):
    """Whole numbers that all formats hold exactly, different along each dimension."""
    return (torch.arange(torch.Size(shape).numel()) % 13).float().reshape(shape)


@pytest.mark.parametrize("name", DTYPES)
def test_transposed(name):
    for shape in ((3, 5), (2, 3, 5)):
        x = numbered(*shape)
        assert values(transposed(recipe_of(x, name), SIZES)).equal(x.mT)
    assert values(transposed(recipe_of(numbered(5)), SIZES)).equal(numbered(5))


def test_the_width_of_the_model_comes_where_it_belongs():
    x = numbered(2, 3, 5)
    for given in (x, x.mT):
        assert values(hidden_at(-1)(recipe_of(given), SIZES)).equal(x)
        assert values(hidden_at(-2)(recipe_of(given), SIZES)).equal(x.mT)


@pytest.mark.parametrize("name", DTYPES)
def test_halves_and_every_second_row(name):
    x = numbered(2, 6, 5)
    assert values(rows(0)(recipe_of(x, name), SIZES)).equal(x[:, :3])
    assert values(rows(1)(recipe_of(x, name), SIZES)).equal(x[:, 3:])
    assert values(rows(1, 2)(recipe_of(x, name), SIZES)).equal(x[:, [1, 3, 5]])
    bias = numbered(3, 4)
    assert values(rows(0, 2, dim=-1)(recipe_of(bias, name), SIZES)).equal(bias[:, [0, 2]])
    both = chain(transposed, rows(0))
    assert values(both(recipe_of(x.mT, name), SIZES)).equal(x[:, :3])


@pytest.mark.parametrize("shape", [(48, 3), (48,)])
def test_queries_keys_and_values_of_groups(shape):
    x = numbered(*shape)
    queries, keys, rest = [], [], []
    for group in range(2):  # each: two queries' heads, a key's, a value's, of six rows
        begin = group * 24
        queries += range(begin, begin + 12)
        keys += range(begin + 12, begin + 18)
        rest += range(begin + 18, begin + 24)
    assert values(q_k_v_of_groups(recipe_of(x), SIZES)).equal(x[queries + keys + rest])


def test_only_the_part_of_a_head_that_turns_is_interleaved():
    x = numbered(12, 3)
    order = [0, 2, 1, 3, 4, 5, 6, 8, 7, 9, 10, 11]
    assert values(interleave_rope(recipe_of(x), n_heads=2, rope_dim=4)).equal(x[order])


def test_keys_and_values_of_the_short_vector_are_taken_apart():
    sizes = replace(SIZES, still_dim=2, value_dim=3)
    x = numbered(20, 5)
    heads = [x[5 * i : 5 * i + 5] for i in range(4)]
    assert values(keys_of_latent(recipe_of(x), sizes)).equal(torch.stack([head[:2].T for head in heads]))
    assert values(values_of_latent(recipe_of(x), sizes)).equal(torch.stack([head[2:] for head in heads]))
    with pytest.raises(InvalidFile, match="is not that of 4 heads of 5"):
        keys_of_latent(recipe_of(numbered(21, 5)), sizes)


def test_experts_apart_and_together():
    x = numbered(6, 4)
    assert values(experts_apart(recipe_of(x), SIZES)).equal(x.reshape(3, 2, 4))
    parts = {i: rows(0)(recipe_of(x + i), SIZES) for i in (1, 0)}
    assert values(join("s", parts)).equal(torch.stack([x[:3], x[:3] + 1]))
    assert values(first_row(recipe_of(numbered(1, 4)), SIZES)).equal(numbered(4))
