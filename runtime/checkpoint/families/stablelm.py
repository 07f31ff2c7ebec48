"""StableLM 3B and 2: norms of q and k, where there are any, come as one tensor for each head."""

from __future__ import annotations

from ..hf_family import ATTENTION, MLP, PRE_NORM, Family

FAMILIES = {
    "StableLmForCausalLM": Family(
        architecture="stablelm",
        layers={
            **ATTENTION,
            **PRE_NORM,
            **MLP,
            "self_attn.q_layernorm.norms.{}": "attn_q_norm",
            "self_attn.k_layernorm.norms.{}": "attn_k_norm",
        },
        numbers={"attention.layer_norm_epsilon": ("layer_norm_eps", "norm_eps")},
        defaults={"partial_rotary_factor": 0.25},
    ),
}
