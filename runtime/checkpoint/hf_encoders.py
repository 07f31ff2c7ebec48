"""The config.json of BERT and its relatives as GGUF metadata. Each class has keys of its own."""

from __future__ import annotations

from typing import Any

from ..errors import UnsupportedModel, cut
from .base import Value
from .strict_json import Fields

__all__ = ["encoder_values"]

# Keys that must have this value where they are there: nothing else is computed.
_BERT: dict[str, Any] = {
    "hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False,
}  # fmt: skip
_NOMIC_BERT: dict[str, Any] = {
    "activation_function": "swiglu", "prenorm": False, "parallel_block": False, "use_rms_norm": False, "causal": False,
    "rotary_emb_fraction": 1.0, "rotary_emb_interleaved": False, "rotary_emb_scale_base": None,
    "rotary_scaling_factor": None, "scale_attn_by_inverse_layer_idx": False, "num_experts": 0,
}  # fmt: skip


def encoder_values(config: Fields, architecture: str) -> dict[str, Value]:
    """Keys below the architecture. Raises InvalidFile for bad values, UnsupportedModel for unsupported ones."""
    return _bert(config) if architecture == "bert" else _nomic_bert(config)


def _bert(config: Fields) -> dict[str, Value]:
    _check(config, _BERT)
    sizes = ("num_hidden_layers", "max_position_embeddings", "hidden_size", "intermediate_size", "num_attention_heads")
    return _shape(config, sizes, config.number("layer_norm_eps", 1e-12))


def _nomic_bert(config: Fields) -> dict[str, Value]:
    _check(config, _NOMIC_BERT)
    sizes = ("n_layer", "n_positions", "n_embd", "n_inner", "n_head")
    values = _shape(config, sizes, config.number("layer_norm_epsilon", 1e-12))
    return values | {"rope.freq_base": config.number("rotary_emb_base", 10_000.0)}


def _shape(config: Fields, sizes: tuple[str, str, str, str, str], eps: float) -> dict[str, Value]:
    """``sizes``: the class's names for depth, context, width, inner width and heads."""
    depth, context, width, inner, heads = sizes
    n_heads, hidden = config.integer(heads), config.integer(width)
    if hidden % n_heads:
        raise config.wrong(heads, f"{n_heads} does not divide the width of {hidden}")
    return {
        "block_count": config.integer(depth),
        "context_length": config.integer(context),
        "embedding_length": hidden,
        "feed_forward_length": config.integer(inner),
        "vocab_size": config.integer("vocab_size"),
        "attention.head_count": n_heads,
        "attention.key_length": hidden // n_heads,
        "attention.layer_norm_epsilon": eps,
        "attention.causal": False,
    }


def _check(config: Fields, known: dict[str, Any]) -> None:
    for key, value in known.items():
        if config.has(key) and config.data[key] != value:
            raise UnsupportedModel(f'config.json: "{key}" {cut(config.data[key])} is not supported')
