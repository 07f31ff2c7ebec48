"""DBRX: all experts in one matrix, the last of the three transposed."""

from __future__ import annotations

from ..base import Value
from ..hf_family import Family
from ..names import Part
from ..strict_json import Fields
from ..transforms import chain, experts_apart, transposed
from .mpt import COUNTS, SCHEME


def _values(config: Fields) -> dict[str, Value]:
    attention = config.fields("attn_config")
    return {} if config.has("rope_parameters") else {"rope.freq_base": attention.number("rope_theta", 10_000.0)}


FAMILIES = {
    "DbrxForCausalLM": Family(
        architecture="dbrx",
        layers={
            "norm_attn_norm.norm_1": "attn_norm",
            "norm_attn_norm.norm_2": "attn_output_norm",
            "norm_attn_norm.attn.Wqkv": "attn_qkv",
            "norm_attn_norm.attn.out_proj": "attn_output",
            "ffn.router.layer": "ffn_gate_inp",
            "ffn.experts.mlp.w1": Part("ffn_gate_exps.weight", experts_apart),
            "ffn.experts.mlp.v1": Part("ffn_up_exps.weight", experts_apart),
            "ffn.experts.mlp.w2": Part("ffn_down_exps.weight", chain(experts_apart, transposed)),
        },
        scheme=SCHEME,
        counts={
            **COUNTS,
            "feed_forward_length": "ffn_config.ffn_hidden_size",
            "expert_count": "ffn_config.moe_num_experts",
            "expert_used_count": "ffn_config.moe_top_k",
        },
        kv_heads="attn_config.kv_n_heads",
        numbers={"attention.clamp_kqv": "attn_config.clip_qkv"},
        only={"ffn_config.ffn_act_fn": ({"name": "silu"},), "ffn_config.moe_normalize_expert_weights": (1.0,)},
        constants={"attention.layer_norm_epsilon": 1e-5},
        values=_values,
    ),
}
