"""Falcon 7B to 180B: fused q, k and v, by groups."""

from __future__ import annotations

from ..base import Value
from ..hf_family import COUNTS, GELU, Family
from ..names import Part, Scheme
from ..strict_json import Fields
from ..transforms import q_k_v_of_groups

_CONTEXT = 2048  # older files do not say


def _values(config: Fields) -> dict[str, Value]:
    n_heads = config.integer("num_attention_heads", config.integer("n_head", 71))
    grouped = config.flag("new_decoder_architecture", False)
    multi_query = not grouped and config.flag("multi_query", True)
    n_kv_heads = 1 if multi_query else config.integer("num_kv_heads", config.integer("n_head_kv", n_heads))
    return {
        "attention.head_count_kv": n_kv_heads,
        "feed_forward_length": config.integer("ffn_hidden_size", 4 * config.integer("hidden_size")),
    }


FAMILIES = {
    "FalconForCausalLM": Family(
        architecture="falcon",
        layers={
            "input_layernorm": "attn_norm",
            "ln_mlp": "attn_norm",
            "ln_attn": "attn_norm_2",
            "self_attention.query_key_value": Part("attn_qkv", q_k_v_of_groups),
            "self_attention.dense": "attn_output",
            "mlp.dense_h_to_4h": "ffn_up",
            "mlp.dense_4h_to_h": "ffn_down",
        },
        scheme=Scheme(
            {
                "word_embeddings.weight": "token_embd.weight",
                "ln_f.weight": "output_norm.weight",
                "ln_f.bias": "output_norm.bias",
                "lm_head.weight": "output.weight",
            },
            layers="h",
            prefixes=("transformer.",),
        ),
        counts={
            **{key: name for key, name in COUNTS.items() if key != "feed_forward_length"},
            "block_count": ("num_hidden_layers", "n_layer"),
            "attention.head_count": ("num_attention_heads", "n_head"),
        },
        numbers={"attention.layer_norm_epsilon": "layer_norm_epsilon"},
        defaults={"max_position_embeddings": _CONTEXT, "tie_word_embeddings": True},
        # All layers of the norm in pairs, and none of a second norm before the feed-forward layer.
        only={"alibi": (False,), "parallel_attn": (True,)},
        values=_values,
        activations=GELU,
    ),
}
