"""Hunyuan, dense and with experts."""

from __future__ import annotations

from ..base import Value
from ..hf_family import ATTENTION, COUNTS, EXPERTS, MLP, PRE_NORM, Family
from ..names import Layers
from ..strict_json import Fields

_NORMS: Layers = {"self_attn.query_layernorm": "attn_q_norm", "self_attn.key_layernorm": "attn_k_norm"}
_ROPE_KEYS = frozenset({"alpha", "mscale", "mscale_all_dim"})


def _values(config: Fields) -> dict[str, Value]:
    """Contexts are stretched by the base: base * alpha^(dim / (dim - 2))."""
    rope = config.fields("rope_parameters" if config.has("rope_parameters") else "rope_scaling")
    if not rope.has("alpha"):
        return {}
    base = rope.number("rope_theta", config.number("rope_theta", 10_000.0))
    dim = config.integer("head_dim", config.integer("hidden_size") // config.integer("num_attention_heads"), low=3)
    return {"rope.freq_base": base * rope.number("alpha") ** (dim / (dim - 2))}


FAMILIES = {
    "HunYuanDenseV1ForCausalLM": Family(
        architecture="hunyuan-dense",
        layers={**ATTENTION, **PRE_NORM, **_NORMS, **MLP},
        values=_values,
        rope_keys=_ROPE_KEYS,
    ),
    "HunYuanMoEV1ForCausalLM": Family(
        architecture="hunyuan-moe",
        layers={
            **ATTENTION,
            **PRE_NORM,
            **_NORMS,
            **EXPERTS,
            "mlp.gate.wg": "ffn_gate_inp",
            "mlp.shared_mlp.gate_proj": "ffn_gate_shexp",
            "mlp.shared_mlp.up_proj": "ffn_up_shexp",
            "mlp.shared_mlp.down_proj": "ffn_down_shexp",
        },
        counts={**COUNTS, "expert_count": "num_experts", "expert_used_count": "moe_topk"},
        values=_values,
        rope_keys=_ROPE_KEYS,
    ),
}
