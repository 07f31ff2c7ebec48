"""Tensor names of Hugging Face models, as GGUF calls them. What is done to the tensors is in ``transforms``.

GGUF's names: https://github.com/ggml-org/llama.cpp/blob/master/gguf-py/gguf/tensor_mapping.py
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .transforms import Transform

__all__ = ["DECODER", "Layers", "Part", "Scheme", "Target", "gguf_targets"]

_NUMBER = r"(0|[1-9]\d{0,5})"
# Tensors that GGUF keeps as one: experts, and in some models the norms of heads.
_MEMBER = re.compile(rf"(?:(?<=\.experts\.)|(?<=\.norms\.)){_NUMBER}(?=\.)")
_KINDS = ("weight", "bias")


@dataclass(frozen=True, slots=True)
class Part:
    """A GGUF tensor that a Hugging Face tensor gives, perhaps one of several, and how it is made of it.

    ``piece``: it is only this piece of that tensor (see ``transforms.join``).
    """

    name: str
    make: Transform | None = None
    piece: str | None = None


# By module inside a layer: name inside a block, or what else is made of it. A tensor that is neither a weight nor a
# bias of a module stands by its whole name, for whole names. {} is the number of an expert.
Layers = Mapping[str, str | Part | tuple[Part, ...]]


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a class names what is not inside a layer (``top``), what it calls its layers, and what no forward pass reads.

    All are without the first of ``prefixes`` that is there.
    """

    top: Mapping[str, str]
    layers: str = "layers"
    prefixes: tuple[str, ...] = ("model.",)
    unused: re.Pattern[str] = re.compile(r"(?!)")

    def bare(self, name: str) -> str:
        """``name`` without its prefix."""
        prefix = next((prefix for prefix in self.prefixes if name.startswith(prefix)), "")
        return name[len(prefix) :]

    def layer(self, name: str) -> tuple[int, str] | None:
        """The number of the layer, and what follows it."""
        match = re.fullmatch(rf"{re.escape(self.layers)}\.{_NUMBER}\.(.+)", name)
        return (int(match[1]), match[2]) if match else None


DECODER = Scheme(
    {
        "embed_tokens.weight": "token_embd.weight",
        "norm.weight": "output_norm.weight",
        "norm.bias": "output_norm.bias",
        "lm_head.weight": "output.weight",
        "lm_head.bias": "output.bias",
    },
    # Saved by old versions, but computed from the configuration.
    unused=re.compile(r"layers\.\d+\.self_attn\.rotary_emb\.inv_freq"),
)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a tensor goes: its GGUF name, which member or piece of it it is (None: all of it), how it is made."""

    name: str
    member: int | str | None = None
    make: Transform | None = None


def gguf_targets(name: str, scheme: Scheme, layers: Layers, n_layers: int, n_unused: int = 0) -> list[Target]:
    """The places of the Hugging Face tensor ``name``; none for one that is not needed, as are all of the ``n_unused``
    layers that follow the last.

    Raises KeyError for a name that has no place in a model with these ``layers``.
    """
    name = scheme.bare(name)
    if name in scheme.top:
        return [Target(scheme.top[name])]
    if scheme.unused.fullmatch(name):
        return []
    number, rest = scheme.layer(name) or (n_layers + n_unused, name)
    if number >= n_layers + n_unused:
        raise KeyError(name)
    return _in_layer(number, rest, layers) if number < n_layers else []


def _in_layer(number: int, name: str, layers: Layers) -> list[Target]:
    found = _MEMBER.search(name)
    member = int(found[1]) if found else None
    name, suffix = _MEMBER.sub("{}", name), ""
    if name not in layers:
        name, _, kind = name.rpartition(".")
        if kind not in _KINDS:
            raise KeyError(kind)
        suffix = f".{kind}"
    parts = layers[name]
    if isinstance(parts, str):
        parts = Part(parts)
    if isinstance(parts, Part):
        parts = (parts,)
    return [Target(f"blk.{number}.{part.name}{suffix}", part.piece or member, part.make) for part in parts]
