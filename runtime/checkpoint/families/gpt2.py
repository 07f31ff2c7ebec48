"""GPT-2, whose matrices are transposed, and StarCoder (GPTBigCode), whose heads share one key."""

from __future__ import annotations

import re

from ..base import Value
from ..hf_family import GELU, GELU_TANH, Family, Keys
from ..names import Layers, Part, Scheme
from ..strict_json import Fields
from ..transforms import transposed

_COUNTS: Keys = {
    "block_count": "n_layer",
    "context_length": "n_positions",
    "embedding_length": "n_embd",
    "attention.head_count": "n_head",
    "vocab_size": "vocab_size",
}
_SCHEME = Scheme(
    {
        "wte.weight": "token_embd.weight",
        "wpe.weight": "position_embd.weight",
        "ln_f.weight": "output_norm.weight",
        "ln_f.bias": "output_norm.bias",
        "lm_head.weight": "output.weight",
    },
    layers="h",
    prefixes=("transformer.",),
    unused=re.compile(r"h\.\d+\.attn\.(bias|masked_bias)"),  # masks that old versions saved
)
_NORMS: Layers = {"ln_1": "attn_norm", "ln_2": "ffn_norm"}
_MATRICES = {
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}


def _ffn(config: Fields) -> dict[str, Value]:
    return {"feed_forward_length": config.integer("n_inner", 4 * config.integer("n_embd"))}


def _starcoder(config: Fields) -> dict[str, Value]:
    n_kv_heads = 1 if config.flag("multi_query", True) else config.integer("n_head")
    return {**_ffn(config), "attention.head_count_kv": n_kv_heads}


FAMILIES = {
    "GPT2LMHeadModel": Family(
        architecture="gpt2",
        layers={**_NORMS, **{module: Part(name, transposed) for module, name in _MATRICES.items()}},
        scheme=_SCHEME,
        counts=_COUNTS,
        numbers={"attention.layer_norm_epsilon": "layer_norm_epsilon"},
        defaults={"tie_word_embeddings": True},
        only={
            "scale_attn_weights": (True,),
            "scale_attn_by_inverse_layer_idx": (False,),
            "add_cross_attention": (False,),
        },
        values=_ffn,
        activations=GELU_TANH,
        rope=False,
    ),
    "GPTBigCodeForCausalLM": Family(
        architecture="starcoder",
        layers={**_NORMS, **_MATRICES},
        scheme=_SCHEME,
        counts=_COUNTS,
        numbers={"attention.layer_norm_epsilon": "layer_norm_epsilon"},
        defaults={"tie_word_embeddings": True},
        # Without one key for all heads, q, k and v come in another order.
        only={"scale_attn_weights": (True,), "add_cross_attention": (False,), "multi_query": (True,)},
        values=_starcoder,
        activations=GELU,
        rope=False,
    ),
}
