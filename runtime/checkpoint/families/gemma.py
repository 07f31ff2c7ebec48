"""Gemma 1 to 3, and EmbeddingGemma."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from ..base import Value
from ..hf_family import ATTENTION, GELU, GELU_TANH, MLP, PRE_NORM, QK_NORM, SANDWICH_NORM, Family, unsupported
from ..names import DECODER, Scheme
from ..strict_json import Fields

_CAPS = ("attn_logit_softcapping", "final_logit_softcapping")
_LAYERS = {**ATTENTION, **SANDWICH_NORM, **MLP}


def _values(config: Fields, *, depth_27b: int, caps_attention: bool, bidirectional: bool) -> dict[str, Value]:
    """``depth_27b``: the depth of the one size that scales attention by the width: GGUF has no key for it."""
    if config.flag("use_bidirectional_attention", False) != bidirectional:
        raise unsupported("use_bidirectional_attention", not bidirectional)
    is_27b = config.integer("num_hidden_layers") == depth_27b
    width = config.integer("hidden_size") / config.integer("num_attention_heads")
    scale = width if is_27b else config.integer("head_dim")
    if config.number("query_pre_attn_scalar", scale) != scale:
        raise unsupported("query_pre_attn_scalar", config.data["query_pre_attn_scalar"], (scale,))
    if not caps_attention and config.has("attn_logit_softcapping"):
        raise unsupported("attn_logit_softcapping", config.data["attn_logit_softcapping"])
    # Missing means the class's own cap, which is GGUF's default, too; null means none, which GGUF writes as 0.
    return {key: config.number(key) if config.has(key) else 0.0 for key in _CAPS if key in config.data}


_VALUES = partial(_values, depth_27b=62, caps_attention=False)

_DEFAULTS = {
    "rope_theta": 1_000_000.0,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "vocab_size": 262_208,
    "max_position_embeddings": 131_072,
    "rms_norm_eps": 1e-6,
}
_GEMMA3 = Family(
    architecture="gemma3",
    layers={**_LAYERS, **QK_NORM},
    defaults={"tie_word_embeddings": True, **_DEFAULTS},
    values=partial(_VALUES, bidirectional=False),
    activations=GELU_TANH,
    window="pattern",
    full_attention_every=6,
    local_rope_base=10_000.0,
    norm_plus_one=True,
    needs_head_dim=True,
)

FAMILIES = {
    "GemmaForCausalLM": Family(
        architecture="gemma",
        layers={**ATTENTION, **PRE_NORM, **MLP},
        defaults={"tie_word_embeddings": True},
        only={"use_bidirectional_attention": (False,)},
        activations=GELU,  # older files say "gelu" and mean the tanh form
        norm_plus_one=True,
        needs_head_dim=True,
    ),
    "Gemma2ForCausalLM": Family(
        architecture="gemma2",
        layers=_LAYERS,
        defaults={"tie_word_embeddings": True},
        values=partial(_values, depth_27b=46, caps_attention=True, bidirectional=False),
        activations=GELU_TANH,
        window="pattern",
        full_attention_every=2,
        norm_plus_one=True,
        needs_head_dim=True,
    ),
    "Gemma3ForCausalLM": _GEMMA3,
    "Gemma3TextModel": replace(
        _GEMMA3,
        architecture="gemma-embedding",
        scheme=Scheme(
            {
                **{name: target for name, target in DECODER.top.items() if target != "output.weight"},
                "2_Dense/linear.weight": "dense_2.weight",
                "3_Dense/linear.weight": "dense_3.weight",
            }
        ),
        defaults=_DEFAULTS,
        values=partial(_VALUES, bidirectional=True),
    ),
}

WITH_PICTURES = {"Gemma3ForConditionalGeneration": {"gemma3_text": _GEMMA3}}
