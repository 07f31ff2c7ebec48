"""DeepSeek-V2-Lite, V3 and R1, and MiniCPM 3: latent attention. Neighbours turn together already in DeepSeek's.

The matrix that makes keys and values of the short vector is split in GGUF, so that only short vectors are kept.
"""

from __future__ import annotations

from ..base import Value
from ..hf_family import COUNTS, EXPERTS, MLP, PRE_NORM, RMS_NORM, Family
from ..names import Layers, Part
from ..strict_json import Fields
from ..transforms import keys_of_latent, values_of_latent

_ATTENTION: Layers = {
    **PRE_NORM,
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.q_a_proj": "attn_q_a",
    "self_attn.q_a_layernorm": "attn_q_a_norm",
    "self_attn.q_b_proj": "attn_q_b",
    "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa",
    "self_attn.kv_a_layernorm": "attn_kv_a_norm",
    "self_attn.o_proj": "attn_output",
}
_DEEPSEEK: Layers = {
    **_ATTENTION,
    **MLP,
    **EXPERTS,
    "self_attn.kv_b_proj": (Part("attn_k_b", keys_of_latent), Part("attn_v_b", values_of_latent)),
    "mlp.gate.e_score_correction_bias": "exp_probs_b.bias",
    "mlp.shared_experts.gate_proj": "ffn_gate_shexp",
    "mlp.shared_experts.up_proj": "ffn_up_shexp",
    "mlp.shared_experts.down_proj": "ffn_down_shexp",
}
_COUNTS = {
    **COUNTS,
    "expert_count": "n_routed_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_count": "n_shared_experts",
    "attention.kv_lora_rank": "kv_lora_rank",
    "rope.dimension_count": "qk_rope_head_dim",
}
_ROPE_KEYS = frozenset({"mscale", "mscale_all_dim"})


def _ranks(config: Fields) -> dict[str, Value]:
    values: dict[str, Value] = {"rope.dimension_count": config.integer("qk_rope_head_dim")}
    if config.has("q_lora_rank"):
        values["attention.q_lora_rank"] = config.integer("q_lora_rank")
    return values


def _deepseek(config: Fields) -> dict[str, Value]:
    rank, turning = config.integer("kv_lora_rank"), config.integer("qk_rope_head_dim")
    values: dict[str, Value] = {
        **_ranks(config),
        "leading_dense_block_count": config.integer("first_k_dense_replace", low=0),
        "attention.head_count_kv": 1,
        "attention.key_length": rank + turning,
        "attention.value_length": rank,
        "attention.key_length_mla": config.integer("qk_nope_head_dim") + turning,
        "attention.value_length_mla": config.integer("v_head_dim"),
    }
    rope = config.fields("rope_parameters" if config.has("rope_parameters") else "rope_scaling")
    if rope.has("mscale_all_dim"):
        values["rope.scaling.yarn_log_multiplier"] = 0.1 * rope.number("mscale_all_dim")
        if rope.number("mscale", 1.0) != rope.number("mscale_all_dim"):
            raise rope.wrong("mscale", "is another than mscale_all_dim, which GGUF cannot say")
    return values


def _minicpm3(config: Fields) -> dict[str, Value]:
    return {
        **_ranks(config),
        "attention.key_length": config.integer("qk_nope_head_dim") + config.integer("qk_rope_head_dim"),
        "attention.value_length": config.integer("v_head_dim"),
    }


FAMILIES = {
    "DeepseekV2ForCausalLM": Family(
        architecture="deepseek2",
        layers=_DEEPSEEK,
        counts=_COUNTS,
        numbers={**RMS_NORM, "expert_weights_scale": "routed_scaling_factor"},
        defaults={"first_k_dense_replace": 0, "routed_scaling_factor": 1.0},
        only={"topk_method": ("greedy",), "norm_topk_prob": (False,), "moe_layer_freq": (1,)},
        constants={"expert_gating_func": 1},
        values=_deepseek,
        rope_keys=_ROPE_KEYS,
    ),
    "DeepseekV3ForCausalLM": Family(
        architecture="deepseek2",
        layers=_DEEPSEEK,
        counts={**_COUNTS, "expert_group_count": "n_group", "expert_group_used_count": "topk_group"},
        numbers={**RMS_NORM, "expert_weights_scale": "routed_scaling_factor"},
        flags={"expert_weights_norm": "norm_topk_prob"},
        defaults={"first_k_dense_replace": 3, "routed_scaling_factor": 2.5, "norm_topk_prob": True},
        only={
            "topk_method": ("noaux_tc",),
            "scoring_func": ("sigmoid",),
            "moe_layer_freq": (1,),
            "rope_interleave": (True,),
        },
        constants={"expert_gating_func": 2},
        values=_deepseek,
        rope_keys=_ROPE_KEYS,
        n_unused_layers="num_nextn_predict_layers",
    ),
    "MiniCPM3ForCausalLM": Family(
        architecture="minicpm3",
        layers={**_ATTENTION, **MLP, "self_attn.kv_b_proj": "attn_kv_b"},
        counts={**COUNTS, "attention.kv_lora_rank": "kv_lora_rank"},
        defaults={"v_head_dim": 64, "tie_word_embeddings": True},
        only={"scale_emb": (12,), "scale_depth": (1.4,), "dim_model_base": (256,)},
        values=_minicpm3,
    ),
}
