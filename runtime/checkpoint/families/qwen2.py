"""Qwen 2 and 2.5, also with experts."""

from __future__ import annotations

from dataclasses import replace

from ..hf_family import ATTENTION, COUNTS, EXPERTS, MLP, PRE_NORM, SHARED_EXPERT, Family

_DENSE = Family(architecture="qwen2", layers={**ATTENTION, **PRE_NORM, **MLP}, window="off")
_WITH_PICTURES = replace(_DENSE, architecture="qwen2vl")

FAMILIES = {
    "Qwen2ForCausalLM": _DENSE,
    "Qwen2MoeForCausalLM": Family(
        architecture="qwen2moe",
        layers={**ATTENTION, **PRE_NORM, **EXPERTS, **SHARED_EXPERT},
        counts={
            **COUNTS,
            "expert_count": ("num_experts", "num_local_experts"),
            "expert_used_count": "num_experts_per_tok",
            "expert_feed_forward_length": "moe_intermediate_size",
            "expert_shared_feed_forward_length": "shared_expert_intermediate_size",
        },
        only={"norm_topk_prob": (False,), "decoder_sparse_step": (1,), "mlp_only_layers": ([],)},
        window="off",
    ),
}

WITH_PICTURES = {
    "Qwen2VLForConditionalGeneration": {"qwen2_vl": _WITH_PICTURES, "qwen2_vl_text": _WITH_PICTURES},
    "Qwen2_5_VLForConditionalGeneration": {"qwen2_5_vl": _WITH_PICTURES, "qwen2_5_vl_text": _WITH_PICTURES},
}
