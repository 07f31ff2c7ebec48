"""Qwen 3, also with experts."""

from __future__ import annotations

from dataclasses import replace

from ..hf_family import ATTENTION, COUNTS, EXPERTS, MLP, PRE_NORM, QK_NORM, Family
from ..names import Part
from ..transforms import chain, hidden_at, rows

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

_MOE = FAMILIES["Qwen3MoeForCausalLM"]
WITH_PICTURES = {
    "Qwen3VLForConditionalGeneration": {
        "qwen3_vl_text": replace(FAMILIES["Qwen3ForCausalLM"], architecture="qwen3vl"),
    },
    "Qwen3VLMoeForConditionalGeneration": {
        "qwen3_vl_moe_text": replace(
            _MOE,
            architecture="qwen3vlmoe",
            layers={
                **_MOE.layers,
                "mlp.experts.gate_up_proj": (
                    Part("ffn_gate_exps.weight", chain(hidden_at(-1), rows(0))),
                    Part("ffn_up_exps.weight", chain(hidden_at(-1), rows(1))),
                ),
                "mlp.experts.down_proj": Part("ffn_down_exps.weight", hidden_at(-2)),
            },
            defaults={"norm_topk_prob": True},
        ),
    },
}
