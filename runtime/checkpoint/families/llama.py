"""Llama, Mistral and Mixtral."""

from __future__ import annotations

from ..hf_family import ATTENTION, COUNTS, MLP, PRE_NORM, W_EXPERTS, Family

_LLAMA = Family(architecture="llama", layers={**ATTENTION, **PRE_NORM, **MLP}, interleaved_rope=True)

FAMILIES = {
    "LlamaForCausalLM": _LLAMA,
    "MistralForCausalLM": _LLAMA,
    "MixtralForCausalLM": Family(
        architecture="llama",
        layers={**ATTENTION, **PRE_NORM, **W_EXPERTS},
        counts={**COUNTS, "expert_count": "num_local_experts", "expert_used_count": "num_experts_per_tok"},
        defaults={"rope_theta": 1_000_000.0},
        interleaved_rope=True,
    ),
}
