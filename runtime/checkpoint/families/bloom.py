"""BLOOM: positions by ALiBi, q, k and v of each head together."""

from __future__ import annotations

from ..base import Value
from ..hf_family import Family
from ..names import Part, Scheme
from ..strict_json import Fields
from ..transforms import q_k_v_of_groups


def _values(config: Fields) -> dict[str, Value]:
    width = config.integer("hidden_size", config.integer("n_embed", 64))
    return {"feed_forward_length": 4 * width}


FAMILIES = {
    "BloomForCausalLM": Family(
        architecture="bloom",
        layers={
            "input_layernorm": "attn_norm",
            "post_attention_layernorm": "ffn_norm",
            "self_attention.query_key_value": Part("attn_qkv", q_k_v_of_groups),
            "self_attention.dense": "attn_output",
            "mlp.dense_h_to_4h": "ffn_up",
            "mlp.dense_4h_to_h": "ffn_down",
        },
        scheme=Scheme(
            {
                "word_embeddings.weight": "token_embd.weight",
                "word_embeddings_layernorm.weight": "token_embd_norm.weight",
                "word_embeddings_layernorm.bias": "token_embd_norm.bias",
                "ln_f.weight": "output_norm.weight",
                "ln_f.bias": "output_norm.bias",
                "lm_head.weight": "output.weight",
            },
            layers="h",
            prefixes=("transformer.",),
        ),
        counts={
            "block_count": ("num_hidden_layers", "n_layer"),
            "context_length": "seq_length",
            "embedding_length": ("hidden_size", "n_embed"),
            "attention.head_count": ("num_attention_heads", "n_head"),
            "vocab_size": "vocab_size",
        },
        numbers={"attention.layer_norm_epsilon": "layer_norm_epsilon"},
        defaults={"seq_length": 2048, "tie_word_embeddings": True},
        only={"apply_residual_connection_post_layernorm": (False,)},
        values=_values,
        rope=False,
    ),
}
