"""How each tensor of GGUF is made from those of a Hugging Face folder, by the row of its family."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import UnsupportedModel, cut
from .base import Value
from .hf_family import Family
from .hf_rope import rope_factors
from .joined import dequantized, join
from .mapped import MappedFile
from .names import Target, gguf_targets
from .safetensors_header import Entry, malformed
from .strict_json import Fields
from .transforms import Recipe, Sizes, constant, interleave_rope, plus_one, stored

__all__ = ["Sources", "make_recipes"]

# Behind the name of a tensor: what its blocks are to be multiplied by.
_SCALES = "_scale_inv"

# Every tensor of a folder by its own name.
Sources = dict[str, tuple[MappedFile, Entry]]


def make_recipes(sources: Sources, config: Fields, family: Family, metadata: Mapping[str, Value]) -> dict[str, Recipe]:
    """How each GGUF tensor is made. Every source is used, or known not to be needed."""
    sizes = Sizes.of(metadata, family.architecture)
    tied = config.flag("tie_word_embeddings", False)
    parts: dict[str, dict[int | str | None, Recipe]] = {}
    for source in sources:
        if _belongs_to_another(source, sources, config):
            continue
        for target in _targets(source, config, family, metadata):
            if tied and target.name == "output.weight":
                continue  # the same weights once more
            found = parts.setdefault(target.name, {})
            if target.member in found:
                raise malformed(f"tensor {cut(source)}", f"is {target.name} for the second time")
            found[target.member] = _made(_weights(source, target.name, sources, config), target, family, sizes)
    recipes = {name: join(name, found) for name, found in parts.items()}
    if family.head and not tied and "output.weight" not in recipes:
        raise malformed(f'tensor "{family.head}"', "is missing, and config.json does not tie it to the embedding")
    factors = rope_factors(config, sizes.rope_dim, family) if family.rope else {}
    return recipes | {name: constant(name, values) for name, values in factors.items()}


def _weights(source: str, name: str, sources: Sources, config: Fields) -> Recipe:
    """A tensor of the folder; with its scales, if it has any, in a format that GGUF has."""
    recipe, scales = stored(name, source, *sources[source]), source + _SCALES
    if scales not in sources or not config.has("quantization_config"):
        return recipe
    sides = config.fields("quantization_config").items("weight_block_size")
    if sides and (len(sides) != 2 or not all(type(n) is int and n > 0 for n in sides)):
        raise config.wrong("weight_block_size", f"is {cut(sides)}, not two sizes")
    factors = stored(scales, scales, *sources[scales])
    return dequantized(recipe, factors, (sides[0], sides[1]) if sides else None)


def _belongs_to_another(source: str, sources: Sources, config: Fields) -> bool:
    """Whether it is the scale of another tensor, or of the activations that meet it, which are not quantized here."""
    if not config.has("quantization_config"):
        return False
    return source.endswith(".activation_scale") or (
        source.endswith(_SCALES) and source.removesuffix(_SCALES) in sources
    )


def _targets(source: str, config: Fields, family: Family, metadata: Mapping[str, Value]) -> list[Target]:
    n_layers = metadata[f"{family.architecture}.block_count"]
    assert isinstance(n_layers, int), "config_metadata says so"
    n_unused = config.integer(family.n_unused_layers, 0, low=0) if family.n_unused_layers else 0
    try:
        return gguf_targets(source, family.scheme, family.layers, n_layers, n_unused)
    except KeyError:
        raise UnsupportedModel(f"tensor {cut(source)} has no place in architecture {family.architecture}") from None


def _made(recipe: Recipe, target: Target, family: Family, sizes: Sizes) -> Recipe:
    """``recipe`` in GGUF's convention."""
    if target.make is not None:
        recipe = target.make(recipe, sizes)
    role, kind = target.name.rsplit(".", 2)[-2:]
    if family.interleaved_rope and role in ("attn_q", "attn_k"):
        return interleave_rope(recipe, sizes.n_heads if role == "attn_q" else sizes.n_kv_heads, sizes.rope_dim)
    if family.norm_plus_one and role.endswith("norm") and kind == "weight":
        return plus_one(recipe)
    return recipe
