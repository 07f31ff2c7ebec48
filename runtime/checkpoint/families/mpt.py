"""MPT: positions by ALiBi, no biases."""

from __future__ import annotations

from ..base import Value
from ..hf_family import Family
from ..names import Scheme
from ..strict_json import Fields


def _values(config: Fields) -> dict[str, Value]:
    attention = config.fields("attn_config")
    width = config.integer("d_model")
    values: dict[str, Value] = {
        "feed_forward_length": config.integer("expansion_ratio", 4) * width,
        "attention.max_alibi_bias": attention.number("alibi_bias_max", 8),
    }
    if attention.has("clip_qkv"):
        values["attention.clamp_kqv"] = attention.number("clip_qkv")
    return values


# DBRX is by the same makers, and named likewise.
SCHEME = Scheme(
    {
        "wte.weight": "token_embd.weight",
        "norm_f.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
    },
    layers="blocks",
    prefixes=("transformer.",),
)
COUNTS = {
    "block_count": "n_layers",
    "context_length": "max_seq_len",
    "embedding_length": "d_model",
    "attention.head_count": "n_heads",
    "vocab_size": "vocab_size",
}
_MPT = Family(
    architecture="mpt",
    layers={
        "norm_1": "attn_norm",
        "norm_2": "ffn_norm",
        "attn.Wqkv": "attn_qkv",
        "attn.out_proj": "attn_output",
        "ffn.up_proj": "ffn_up",
        "ffn.down_proj": "ffn_down",
    },
    scheme=SCHEME,
    counts=COUNTS,
    kv_heads="attn_config.kv_n_heads",
    numbers={"attention.layer_norm_epsilon": "layer_norm_epsilon"},
    defaults={"layer_norm_epsilon": 1e-5, "tie_word_embeddings": True},
    only={
        "attn_config.alibi": (True,),
        "attn_config.qk_ln": (False,),
        "attn_config.prefix_lm": (False,),
        "attn_config.softmax_scale": (),
        "embedding_fraction": (1.0,),
        "logit_scale": (),
        "no_bias": (True,),
    },
    values=_values,
    rope=False,
)

# As transformers calls it, and as its makers do.
FAMILIES = {"MptForCausalLM": _MPT, "MPTForCausalLM": _MPT}
