"""gpt-oss, its experts in MXFP4 as published, or in floats. Gate and up are rows in turn of one matrix, which is
transposed where it is of floats.
"""

from __future__ import annotations

from ..hf_family import ATTENTION, COUNTS, Family
from ..names import Part
from ..transforms import chain, rows, transposed

FAMILIES = {
    "GptOssForCausalLM": Family(
        architecture="gpt-oss",
        layers={
            **ATTENTION,
            "post_attention_layernorm": "post_attention_norm",
            "self_attn.sinks": "attn_sinks.weight",
            "mlp.router": "ffn_gate_inp",
            "mlp.experts.gate_up_proj": (
                Part("ffn_gate_exps.weight", chain(transposed, rows(0, 2))),
                Part("ffn_up_exps.weight", chain(transposed, rows(1, 2))),
            ),
            "mlp.experts.gate_up_proj_bias": (
                Part("ffn_gate_exps.bias", rows(0, 2, dim=-1)),
                Part("ffn_up_exps.bias", rows(1, 2, dim=-1)),
            ),
            "mlp.experts.gate_up_proj_blocks": (
                Part("ffn_gate_exps.weight", rows(0, 2, dim=-3), "blocks"),
                Part("ffn_up_exps.weight", rows(1, 2, dim=-3), "blocks"),
            ),
            "mlp.experts.gate_up_proj_scales": (
                Part("ffn_gate_exps.weight", rows(0, 2), "scales"),
                Part("ffn_up_exps.weight", rows(1, 2), "scales"),
            ),
            "mlp.experts.down_proj_blocks": Part("ffn_down_exps.weight", piece="blocks"),
            "mlp.experts.down_proj_scales": Part("ffn_down_exps.weight", piece="scales"),
            "mlp.experts.down_proj": Part("ffn_down_exps.weight", transposed),
            "mlp.experts.down_proj_bias": "ffn_down_exps.bias",
        },
        counts={
            **COUNTS,
            "expert_feed_forward_length": "intermediate_size",
            "expert_count": "num_local_experts",
            "expert_used_count": ("num_experts_per_tok", "experts_per_token"),
        },
        defaults={"rope_theta": 150_000.0},
        only={"swiglu_limit": (7.0,), "swiglu_alpha": (1.702,)},
        window="pattern",
        full_attention_every=2,
        needs_head_dim=True,
        quantization="mxfp4",
    ),
}
