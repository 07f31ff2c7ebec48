"""Qwen 3, also with experts."""

from __future__ import annotations

from ..hf_family import ATTENTION, COUNTS, EXPERTS, MLP, PRE_NORM, QK_NORM, Family

FAMILIES = {
    "Qwen3ForCausalLM": Family(
        architecture="qwen3",
        layers={**ATTENTION, **QK_NORM, **PRE_NORM, **MLP},
        window="off",
        needs_head_dim=True,
    ),
    "Qwen3MoeForCausalLM": Family(
        architecture="qwen3moe",
        layers={**ATTENTION, **QK_NORM, **PRE_NORM, **EXPERTS},
        counts={
            **COUNTS,
            "expert_count": ("num_experts", "num_local_experts"),
            "expert_used_count": "num_experts_per_tok",
            "expert_feed_forward_length": "moe_intermediate_size",
        },
        defaults={"norm_topk_prob": False},
        only={"norm_topk_prob": (True,), "decoder_sparse_step": (1,), "mlp_only_layers": ([],)},
        window="off",
        needs_head_dim=True,
    ),
}
