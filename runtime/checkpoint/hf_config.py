"""The config.json of a Hugging Face model as GGUF metadata: which architecture it is, and its numbers.

One row of ``FAMILIES`` per class name. What a row does not foresee is refused by name, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import UnsupportedModel, cut
from . import names
from .base import Value
from .hf_encoders import encoder_values
from .hf_rope import rope_metadata
from .strict_json import Fields

__all__ = ["FAMILIES", "Family", "config_metadata", "family_of"]

_SILU = ("silu", "swish")
_GELU_TANH = ("gelu_pytorch_tanh", "gelu_new")


@dataclass(frozen=True)
class Family:
    """What all models of one Hugging Face class share.

    ``layers``: names of modules in a layer, Hugging Face's to GGUF's. ``needs_head_dim``: the class has a default of
    its own for it, so that it cannot be derived. ``full_attention_every``: in which layers the sliding window does
    not hold; None where it holds in all. ``depth_27b``: the depth of the one size that scales attention by the width.
    ``bidirectional``: tokens see those after them. ``scheme``: names outside of layers.
    """

    architecture: str
    layers: Mapping[str, str]
    activations: tuple[str, ...] = _SILU
    tied: bool = False
    interleaved_rope: bool = False
    norm_plus_one: bool = False
    needs_head_dim: bool = False
    rope_base: float = 10_000.0
    full_attention_every: int | None = None
    depth_27b: int | None = None
    bidirectional: bool = False
    scheme: names.Scheme = names.DECODER_SCHEME

    @property
    def is_encoder(self) -> bool:
        """Whether it is no decoder in any way: with layer norms, and without an output head."""
        return self.architecture in ("bert", "nomic-bert")


_LLAMA = Family("llama", names.LLAMA, interleaved_rope=True)
FAMILIES: Mapping[str, Family] = {
    "LlamaForCausalLM": _LLAMA,
    "MistralForCausalLM": _LLAMA,
    "MixtralForCausalLM": Family("llama", names.LLAMA, interleaved_rope=True, rope_base=1_000_000.0),
    "Qwen2ForCausalLM": Family("qwen2", names.QWEN2),
    "Qwen3ForCausalLM": Family("qwen3", names.QWEN3, needs_head_dim=True),
    "Gemma2ForCausalLM": Family(
        "gemma2", names.GEMMA2, _GELU_TANH, tied=True, norm_plus_one=True, needs_head_dim=True,
        full_attention_every=2, depth_27b=46,
    ),
    "Gemma3ForCausalLM": Family(
        "gemma3", names.GEMMA3, _GELU_TANH, tied=True, norm_plus_one=True, needs_head_dim=True,
        rope_base=1_000_000.0, full_attention_every=6, depth_27b=62,
    ),
    "Gemma3TextModel": Family(
        "gemma-embedding", names.GEMMA3, _GELU_TANH, tied=True, norm_plus_one=True, needs_head_dim=True,
        rope_base=1_000_000.0, full_attention_every=6, depth_27b=62, bidirectional=True,
        scheme=names.GEMMA_EMBEDDING_SCHEME,
    ),
    "Phi3ForCausalLM": Family("phi3", names.PHI3),
    "BertModel": Family(
        "bert", names.BERT, ("gelu",), tied=True, bidirectional=True, scheme=names.BERT_SCHEME,
    ),
    "NomicBertModel": Family(
        "nomic-bert", names.NOMIC_BERT, ("swiglu",), tied=True, bidirectional=True, scheme=names.NOMIC_BERT_SCHEME,
    ),
}  # fmt: skip

# GGUF key below the architecture: key of config.json. All are whole numbers from 1 on.
_COUNTS = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "vocab_size": "vocab_size",
}


def family_of(config: Fields) -> Family:
    """The row for this model. Raises UnsupportedModel for a class that has none, and for quantized weights."""
    classes = config.items("architectures")
    if len(classes) != 1 or not isinstance(classes[0], str) or classes[0] not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise UnsupportedModel(f"config.json: architectures {cut(classes)} is not supported; supported: {known}")
    if config.has("quantization_config"):
        raise UnsupportedModel('config.json: "quantization_config": only unquantized safetensors are supported')
    return FAMILIES[classes[0]]


def config_metadata(config: Fields, family: Family) -> dict[str, Value]:
    """GGUF keys for ``config``. Raises InvalidFile for bad values, UnsupportedModel for unsupported ones."""
    values = encoder_values(config, family.architecture) if family.is_encoder else _decoder_values(config, family)
    prefixed: dict[str, Value] = {"general.architecture": family.architecture, "general.type": "model"}
    return prefixed | {f"{family.architecture}.{key}": value for key, value in values.items()}


def _decoder_values(config: Fields, family: Family) -> dict[str, Value]:
    values: dict[str, Value] = {key: config.integer(source) for key, source in _COUNTS.items()}
    n_heads, hidden_size = config.integer("num_attention_heads"), config.integer("hidden_size")
    head_dim = _head_dim(config, family)
    values |= {
        "attention.head_count_kv": config.integer("num_key_value_heads", n_heads, high=n_heads),
        "attention.key_length": head_dim,
        "attention.value_length": head_dim,
        "attention.layer_norm_rms_epsilon": config.number("rms_norm_eps"),
    }
    activation = config.text("hidden_activation", config.text("hidden_act", family.activations[0]))
    if activation not in family.activations:
        raise _unsupported("hidden_act", activation)
    values |= _expert_metadata(config)
    values |= _window_metadata(config, family)
    values |= _gemma_metadata(config, family, head_dim, hidden_size / n_heads)
    return values | rope_metadata(config, head_dim, family.rope_base)


def _head_dim(config: Fields, family: Family) -> int:
    if family.needs_head_dim or config.has("head_dim"):
        return config.integer("head_dim")
    hidden_size, n_heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    if hidden_size % n_heads:
        raise config.wrong("num_attention_heads", f"{n_heads} does not divide the width of {hidden_size}")
    return hidden_size // n_heads


def _expert_metadata(config: Fields) -> dict[str, Value]:
    if not config.has("num_local_experts"):
        return {}
    n_experts = config.integer("num_local_experts", high=65_536)
    return {
        "expert_count": n_experts,
        "expert_used_count": config.integer("num_experts_per_tok", high=n_experts),
    }


def _window_metadata(config: Fields, family: Family) -> dict[str, Value]:
    """Sliding windows. Where GGUF's architecture has none, the context ends where the window would begin to matter."""
    if not config.has("sliding_window"):
        return {}
    window = config.integer("sliding_window")
    if family.full_attention_every is not None:
        return {"attention.sliding_window": window} | _window_pattern(config, family.full_attention_every)
    if family.architecture == "phi3":
        return {"attention.sliding_window": window}
    if family.architecture in ("qwen2", "qwen3"):
        if config.flag("use_sliding_window", False):
            raise _unsupported("use_sliding_window", True)
        return {}
    return {"context_length": min(window, config.integer("max_position_embeddings"))}


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
        raise _unsupported("sliding_window_pattern", config.integer("sliding_window_pattern"))
    return {}


def _gemma_metadata(config: Fields, family: Family, head_dim: int, width_per_head: float) -> dict[str, Value]:
    if family.depth_27b is None:
        return {}
    if config.flag("use_bidirectional_attention", False) != family.bidirectional:
        raise _unsupported("use_bidirectional_attention", not family.bidirectional)
    # GGUF has no key for the scale of attention: it follows from the depth.
    scale = width_per_head if config.integer("num_hidden_layers") == family.depth_27b else head_dim
    if config.number("query_pre_attn_scalar", scale) != scale:
        raise _unsupported("query_pre_attn_scalar", config.data["query_pre_attn_scalar"])
    if family.architecture != "gemma2" and config.has("attn_logit_softcapping"):
        raise _unsupported("attn_logit_softcapping", config.data["attn_logit_softcapping"])
    # Missing means the class's own cap, which is GGUF's default, too; null means none, which GGUF writes as 0.
    caps = [key for key in ("attn_logit_softcapping", "final_logit_softcapping") if key in config.data]
    return {key: config.number(key) if config.has(key) else 0.0 for key in caps}


def _unsupported(key: str, value: object) -> UnsupportedModel:
    return UnsupportedModel(f'config.json: "{key}" {cut(value)} is not supported')
