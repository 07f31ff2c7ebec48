"""Llama 4, the text model: its rotary embedding turns neighbours already, so nothing is reordered."""

from __future__ import annotations

from ..base import Value
from ..hf_family import ATTENTION, COUNTS, PRE_NORM, Family, layers_are, unsupported
from ..names import Part
from ..strict_json import Fields
from ..transforms import chain, rows, transposed

_STILL_EVERY = 4
_EXPERTS_OF_MAVERICK = 128  # GGUF has no key for norms of q and k: this many experts mean that there are none


def _values(config: Fields) -> dict[str, Value]:
    n_layers = config.integer("num_hidden_layers")
    turns = [(layer + 1) % _STILL_EVERY != 0 for layer in range(n_layers)]
    layers_are(config, "no_rope_layers", [int(turn) for turn in turns])
    layers_are(config, "layer_types", [("full", "chunked")[turn] + "_attention" for turn in turns])
    step = config.integer("interleave_moe_layer_step", 1)
    layers_are(config, "moe_layers", range(step - 1, n_layers, step))
    normed = config.flag("use_qk_norm", True)
    if normed != (config.integer("num_local_experts") != _EXPERTS_OF_MAVERICK):
        raise unsupported("use_qk_norm", normed)
    return {}


FAMILIES = {
    "Llama4ForCausalLM": Family(
        architecture="llama4",
        layers={
            **ATTENTION,
            **PRE_NORM,
            "feed_forward.router": "ffn_gate_inp",
            "feed_forward.experts.gate_up_proj": (
                Part("ffn_gate_exps.weight", chain(transposed, rows(0))),
                Part("ffn_up_exps.weight", chain(transposed, rows(1))),
            ),
            "feed_forward.experts.down_proj": Part("ffn_down_exps.weight", transposed),
            "feed_forward.gate_proj": "ffn_gate",
            "feed_forward.up_proj": "ffn_up",
            "feed_forward.down_proj": "ffn_down",
            "feed_forward.shared_expert.gate_proj": "ffn_gate_shexp",
            "feed_forward.shared_expert.up_proj": "ffn_up_shexp",
            "feed_forward.shared_expert.down_proj": "ffn_down_shexp",
        },
        counts={
            **COUNTS,
            "feed_forward_length": "intermediate_size_mlp",
            "expert_feed_forward_length": "intermediate_size",
            "expert_shared_feed_forward_length": "intermediate_size",
            "expert_count": "num_local_experts",
            "expert_used_count": "num_experts_per_tok",
            "interleave_moe_layer_step": "interleave_moe_layer_step",
            "attention.sliding_window": "attention_chunk_size",
        },
        numbers={
            "attention.layer_norm_rms_epsilon": "rms_norm_eps",
            "attention.temperature_length": "floor_scale",
            "attention.temperature_scale": "attn_scale",
        },
        defaults={
            "rope_theta": 500_000.0,
            "interleave_moe_layer_step": 1,
            "attention_chunk_size": 8192,
            "floor_scale": 8192,
            "attn_scale": 0.1,
        },
        # The attention's temperature counts from the floor on, so that it may be on where contexts are shorter.
        only={"attn_temperature_tuning": (True, 4)},
        values=_values,
        needs_head_dim=True,
    ),
}

WITH_PICTURES = {"Llama4ForConditionalGeneration": {"llama4_text": FAMILIES["Llama4ForCausalLM"]}}
