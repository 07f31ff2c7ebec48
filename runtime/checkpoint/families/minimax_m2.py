"""MiniMax M2: experts chosen by sigmoids with a bias, norms over all heads of q and of k."""

from __future__ import annotations

from ..hf_family import ATTENTION, COUNTS, PRE_NORM, QK_NORM, W_EXPERTS, Family

FAMILIES = {
    "MiniMaxM2ForCausalLM": Family(
        architecture="minimax-m2",
        layers={
            **ATTENTION,
            **QK_NORM,
            **PRE_NORM,
            **W_EXPERTS,
            "block_sparse_moe.e_score_correction_bias": "exp_probs_b.bias",
        },
        counts={
            **COUNTS,
            "expert_feed_forward_length": "intermediate_size",
            "expert_count": "num_local_experts",
            "expert_used_count": "num_experts_per_tok",
        },
        defaults={"rope_theta": 5_000_000.0},
        only={"scoring_func": ("sigmoid",), "qk_norm_type": ("per_layer",)},
        constants={"expert_gating_func": 2},
    ),
}
