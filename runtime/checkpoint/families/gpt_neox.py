"""GPT-NeoX and Pythia: q, k and v of each head together."""

from __future__ import annotations

import re

from ..hf_family import COUNTS, GELU, LAYER_NORM, Family
from ..names import Part, Scheme
from ..transforms import q_k_v_of_groups

FAMILIES = {
    "GPTNeoXForCausalLM": Family(
        architecture="gptneox",
        layers={
            "input_layernorm": "attn_norm",
            "post_attention_layernorm": "ffn_norm",
            "attention.query_key_value": Part("attn_qkv", q_k_v_of_groups),
            "attention.dense": "attn_output",
            "mlp.dense_h_to_4h": "ffn_up",
            "mlp.dense_4h_to_h": "ffn_down",
        },
        scheme=Scheme(
            {
                "embed_in.weight": "token_embd.weight",
                "final_layer_norm.weight": "output_norm.weight",
                "final_layer_norm.bias": "output_norm.bias",
                "embed_out.weight": "output.weight",
            },
            prefixes=("gpt_neox.",),
            unused=re.compile(r"layers\.\d+\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)"),
        ),
        counts=COUNTS,
        numbers=LAYER_NORM,
        flags={"use_parallel_residual": "use_parallel_residual"},
        defaults={"partial_rotary_factor": 0.25, "use_parallel_residual": True},
        activations=GELU,
    ),
}
