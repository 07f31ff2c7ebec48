"""GLM 4, as published for transformers, GLM-4-0414, and GLM 4.5 with experts. The first two turn neighbours already."""

from __future__ import annotations

from ..hf_family import ATTENTION, COUNTS, EXPERTS, MLP, PRE_NORM, QK_NORM, RMS_NORM, Family
from ..names import Layers

_FUSED_MLP: Layers = {"mlp.gate_up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}

FAMILIES = {
    "GlmForCausalLM": Family(
        architecture="chatglm",
        layers={**ATTENTION, **PRE_NORM, **_FUSED_MLP},
        defaults={"partial_rotary_factor": 0.5},
    ),
    "Glm4ForCausalLM": Family(
        architecture="glm4",
        layers={
            **ATTENTION,
            **PRE_NORM,
            **_FUSED_MLP,
            "post_self_attn_layernorm": "post_attention_norm",
            "post_mlp_layernorm": "post_ffw_norm",
        },
        defaults={"partial_rotary_factor": 0.5},
        only={"rope_parameters.mrope_section": (), "rope_scaling.mrope_section": ()},
    ),
    "Glm4MoeForCausalLM": Family(
        architecture="glm4moe",
        layers={
            **ATTENTION,
            **QK_NORM,
            **MLP,
            **EXPERTS,
            "post_attention_layernorm": "post_attention_norm",
            "mlp.gate.e_score_correction_bias": "exp_probs_b.bias",
            "mlp.shared_experts.gate_proj": "ffn_gate_shexp",
            "mlp.shared_experts.up_proj": "ffn_up_shexp",
            "mlp.shared_experts.down_proj": "ffn_down_shexp",
        },
        counts={
            **COUNTS,
            "expert_count": "n_routed_experts",
            "expert_used_count": "num_experts_per_tok",
            "expert_feed_forward_length": "moe_intermediate_size",
            "expert_shared_count": "n_shared_experts",
            "leading_dense_block_count": "first_k_dense_replace",
        },
        numbers={**RMS_NORM, "expert_weights_scale": "routed_scaling_factor"},
        flags={"expert_weights_norm": "norm_topk_prob"},
        defaults={
            "partial_rotary_factor": 0.5,
            "n_shared_experts": 1,
            "first_k_dense_replace": 1,
            "routed_scaling_factor": 1.0,
            "norm_topk_prob": True,
        },
        only={"n_group": (1,), "topk_group": (1,)},
        constants={"expert_gating_func": 2},
        n_unused_layers="num_nextn_predict_layers",
    ),
}
