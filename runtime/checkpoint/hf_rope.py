"""Rotary embedding as config.json describes it, as GGUF metadata and as GGUF's tensors of frequency factors."""

from __future__ import annotations

import math

from ..errors import UnsupportedModel, cut
from .base import Value
from .hf_family import Family
from .strict_json import Fields

__all__ = ["rope_factors", "rope_metadata"]

_KNOWN = ("default", "linear", "yarn", "llama3", "longrope", "su", "mrope")
# What may stand beside the type, and is read here.
_READ = {
    "rope_type", "type", "rope_theta", "factor", "original_max_position_embeddings", "partial_rotary_factor",
    "low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow", "short_factor", "long_factor",
    "truncate", "mrope_section", "mrope_interleaved", "max_position_embeddings",
}  # fmt: skip
_BASE = 10_000.0
# Older names of "partial_rotary_factor".
_PARTS = ("rotary_pct", "rope_pct", "rope_percent")


def rope_metadata(config: Fields, head_dim: int, family: Family) -> dict[str, Value]:
    """The ``rope.`` keys. Raises InvalidFile or UnsupportedModel, naming the key."""
    scaling = _scaling(config)
    kind, local_base = _kind(scaling, family.rope_keys), family.local_rope_base
    base = _base(config, scaling)
    values: dict[str, Value] = {"rope.dimension_count": _rope_dim(config, scaling, head_dim), "rope.freq_base": base}
    local = _local_base(config, base if local_base is None else local_base)
    if local_base is None and local != base:
        raise UnsupportedModel(f"config.json: rope base {local:g} in layers with a sliding window is not supported")
    if local_base is not None and local != local_base:
        values["rope.freq_base_swa"] = local
    if scaling.has("mrope_section"):  # of each head, for positions in pictures; those of text are all the same
        values["rope.dimension_sections"] = [*scaling.items("mrope_section"), 0]
    if kind in ("linear", "yarn"):
        values |= {"rope.scaling.type": kind, "rope.scaling.factor": scaling.number("factor")}
    if kind == "yarn":
        values["rope.scaling.original_context_length"] = _original_context(config, scaling)
        given = [key for key in ("beta_fast", "beta_slow") if scaling.has(key)]
        values |= {f"rope.scaling.yarn_{key}": scaling.number(key) for key in given}
        if not scaling.flag("truncate", True):
            values["rope.scaling.yarn_truncate"] = False
    if kind in ("longrope", "su"):
        values |= _longrope_metadata(config, scaling)
    return values


def rope_factors(config: Fields, rope_dim: int, family: Family) -> dict[str, list[float]]:
    """Tensors that GGUF keeps for what config.json says in numbers: divisors of the frequencies, by tensor name."""
    scaling = _scaling(config)
    kind = _kind(scaling, family.rope_keys)
    if kind == "llama3":
        return {"rope_freqs.weight": _llama3_factors(config, scaling, rope_dim, _base(config, scaling))}
    if kind in ("longrope", "su"):
        n = rope_dim // 2
        return {f"rope_factors_{kind}.weight": scaling.numbers(f"{kind}_factor", n) for kind in ("long", "short")}
    return {}


def _scaling(config: Fields) -> Fields:
    """The object with the scaling: "rope_scaling", or "rope_parameters" as newer files call it."""
    if not config.has("rope_parameters"):
        return config.fields("rope_scaling")
    parameters = config.fields("rope_parameters")
    return parameters.fields("full_attention") if parameters.has("full_attention") else parameters


def _kind(scaling: Fields, further: frozenset[str] = frozenset()) -> str:
    kind = scaling.text("rope_type", scaling.text("type", "default"))
    known = (*_KNOWN, "dynamic") if "alpha" in further and scaling.has("alpha") else _KNOWN
    if kind not in known:
        raise UnsupportedModel(f"config.json: rope type {cut(kind)} is not supported; supported: {', '.join(known)}")
    unread = sorted(key for key in scaling.data if key not in _READ | further and scaling.has(key))
    if unread:
        raise UnsupportedModel(f"config.json: rope scaling with {cut(unread[0])} is not supported")
    return kind


def _base(config: Fields, scaling: Fields) -> float:
    return scaling.number("rope_theta", config.number("rope_theta", config.number("rotary_emb_base", _BASE)))


def _local_base(config: Fields, default: float) -> float:
    """The base of layers with a sliding window."""
    if not config.has("rope_parameters"):
        return config.number("rope_local_base_freq", default)
    parameters = config.fields("rope_parameters")
    if not parameters.has("sliding_attention"):
        return default
    local = parameters.fields("sliding_attention")
    if _kind(local) != "default":
        raise UnsupportedModel("config.json: rope scaling in layers with a sliding window is not supported")
    return local.number("rope_theta", default)


def _rope_dim(config: Fields, scaling: Fields, head_dim: int) -> int:
    if config.has("rotary_dim"):
        return config.integer("rotary_dim", high=head_dim)
    key = next((key for key in _PARTS if config.has(key)), "partial_rotary_factor")
    part = scaling.number("partial_rotary_factor", config.number(key, 1.0))
    dim = int(head_dim * part)
    if dim % 2 or not 2 <= dim <= head_dim:
        raise config.wrong(key, f"{part:g} turns {dim} of {head_dim} elements of a head")
    return dim


def _original_context(config: Fields, scaling: Fields) -> int:
    key = "original_max_position_embeddings"
    holder = scaling if scaling.has(key) else config
    return holder.integer(key, config.integer("max_position_embeddings"))


def _longrope_metadata(config: Fields, scaling: Fields) -> dict[str, Value]:
    """LongRoPE (arXiv:2402.13753): attention grows with the logarithm of how much the context was stretched."""
    original = _original_context(config, scaling)
    stretch = config.integer("max_position_embeddings") / original
    factor = math.sqrt(1 + math.log(stretch) / math.log(original)) if stretch > 1 else 1.0
    return {
        "rope.scaling.type": "longrope",
        "rope.scaling.original_context_length": original,
        "rope.scaling.attn_factor": factor,
    }


def _llama3_factors(config: Fields, scaling: Fields, dim: int, base: float) -> list[float]:
    """Llama 3.1: frequencies slower than the original context are divided, fast ones stay, a ramp between.

    https://github.com/meta-llama/llama-models/blob/main/models/llama3/model.py (apply_scaling)
    """
    factor, low, high = (scaling.number(key) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    original = _original_context(config, scaling)
    if low >= high:
        raise scaling.wrong("low_freq_factor", f"{low:g} is not below high_freq_factor {high:g}")
    factors = []
    for i in range(0, dim, 2):
        turns = original * base ** (-i / dim) / (2 * math.pi)  # how often this frequency turns in that context
        ramp = min(1.0, max(0.0, (turns - low) / (high - low)))
        factors.append(1 / ((1 - ramp) / factor + ramp))
    return factors
