"""The config.json of a Hugging Face model as GGUF metadata, by the row of its family."""

from __future__ import annotations

from ..errors import cut
from .base import Value
from .hf_family import Family, Names, unsupported
from .hf_rope import rope_metadata
from .strict_json import Fields

__all__ = ["config_metadata", "with_defaults"]

_ACTIVATIONS = ("hidden_activation", "hidden_act", "activation_function", "activation")


def with_defaults(config: Fields, family: Family) -> Fields:
    """``config`` with what the class has where the file says nothing."""
    given = {key: value for key, value in config.data.items() if value is not None or key not in family.defaults}
    return config.replaced({**family.defaults, **given})


def config_metadata(config: Fields, family: Family) -> dict[str, Value]:
    """GGUF keys for ``config``, which has its defaults.

    Raises InvalidFile for bad values, UnsupportedModel for unsupported ones.
    """
    _check_values(config, family)
    n_heads, head_dim = _heads(config, family)
    values: dict[str, Value] = {key: Fields.integer(*_find(config, names)) for key, names in family.counts.items()}
    values |= {key: Fields.number(*_find(config, names)) for key, names in family.numbers.items()}
    values |= {key: Fields.flag(*_find(config, names)) for key, names in family.flags.items()}
    kv_holder, kv_key = _find(config, family.kv_heads)
    values |= {
        "attention.head_count_kv": kv_holder.integer(kv_key, n_heads, high=n_heads),
        "attention.key_length": head_dim,
        "attention.value_length": head_dim,
    }
    values |= _window(config, family)
    if family.rope:
        values |= rope_metadata(config, head_dim, family)
    values |= {**family.constants, **family.values(config)}
    prefixed: dict[str, Value] = {"general.architecture": family.architecture, "general.type": "model"}
    return prefixed | {f"{family.architecture}.{key}": value for key, value in values.items()}


def _find(config: Fields, names: Names) -> tuple[Fields, str]:
    """The object that holds the first of ``names`` that is there, or else the first of all, and its key in it."""
    found = []
    for name in (names,) if isinstance(names, str) else names:
        holder, (*path, key) = config, name.split(".")
        for part in path:
            holder = holder.fields(part)
        found.append((holder, key))
    return next(((holder, key) for holder, key in found if holder.has(key)), found[0])


def _check_values(config: Fields, family: Family) -> None:
    if config.has("quantization_config"):
        method = config.fields("quantization_config").text("quant_method", "")
        methods = [name for name in ("fp8", family.quantization) if name]
        if method not in methods:
            raise unsupported("quantization_config", method, methods)
    activation = next((key for key in _ACTIVATIONS if config.has(key)), None)
    if activation and config.data[activation] not in family.activations:
        raise unsupported(activation, config.data[activation], family.activations)
    for name, known in family.only.items():
        holder, key = _find(config, name)
        if holder.has(key) and holder.data[key] not in known:
            raise unsupported(name, holder.data[key], known)


def _heads(config: Fields, family: Family) -> tuple[int, int]:
    """How many there are, and elements of each."""
    holder, key = _find(config, family.counts["attention.head_count"])
    n_heads = holder.integer(key)
    if family.needs_head_dim or config.has("head_dim"):
        return n_heads, config.integer("head_dim")
    hidden_size = Fields.integer(*_find(config, family.counts["embedding_length"]))
    if hidden_size % n_heads:
        raise holder.wrong(key, f"{n_heads} does not divide the width of {hidden_size}")
    return n_heads, hidden_size // n_heads


def _window(config: Fields, family: Family) -> dict[str, Value]:
    if family.window == "off":
        if config.flag("use_sliding_window", False):
            raise unsupported("use_sliding_window", True, (False,))
        return {}
    if not config.has("sliding_window"):
        return {}
    window = config.integer("sliding_window")
    if family.window == "context":
        return {"context_length": min(window, config.integer("max_position_embeddings"))}
    pattern = _window_pattern(config, family.full_attention_every) if family.window == "pattern" else {}
    return {"attention.sliding_window": window} | pattern


def _window_pattern(config: Fields, every: int) -> dict[str, Value]:
    """Which layers have the window; said only where it is not the architecture's own pattern."""
    n_layers = config.integer("num_hidden_layers")
    if config.has("layer_types"):
        kinds = config.items("layer_types")
        if len(kinds) != n_layers or any(kind not in ("sliding_attention", "full_attention") for kind in kinds):
            raise config.wrong("layer_types", f"is {cut(kinds)}, not a kind of attention for each of {n_layers} layers")
        windowed = [kind == "sliding_attention" for kind in kinds]
        if any(has_window != bool((i + 1) % every) for i, has_window in enumerate(windowed)):
            return {"attention.sliding_window_pattern": windowed}
    elif config.integer("sliding_window_pattern", every) != every:
        raise unsupported("sliding_window_pattern", config.integer("sliding_window_pattern"), (every,))
    return {}
