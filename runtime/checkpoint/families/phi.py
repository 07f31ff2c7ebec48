"""Phi 1 and 2, Phi 3 and 4."""

from __future__ import annotations

from ..hf_family import GELU_TANH, LAYER_NORM, PRE_NORM, Family
from ..names import DECODER, Scheme

FAMILIES = {
    "PhiForCausalLM": Family(
        architecture="phi2",
        layers={
            "input_layernorm": "attn_norm",
            "self_attn.q_proj": "attn_q",
            "self_attn.k_proj": "attn_k",
            "self_attn.v_proj": "attn_v",
            "self_attn.dense": "attn_output",
            "mlp.fc1": "ffn_up",
            "mlp.fc2": "ffn_down",
        },
        scheme=Scheme(
            {
                **DECODER.top,
                "final_layernorm.weight": "output_norm.weight",
                "final_layernorm.bias": "output_norm.bias",
            },
            unused=DECODER.unused,
        ),
        numbers=LAYER_NORM,
        defaults={"partial_rotary_factor": 0.5},
        only={"qk_layernorm": (False,)},
        activations=GELU_TANH,
    ),
    "Phi3ForCausalLM": Family(
        architecture="phi3",
        layers={
            **PRE_NORM,
            "input_layernorm": "attn_norm",
            "self_attn.qkv_proj": "attn_qkv",
            "self_attn.o_proj": "attn_output",
            "mlp.gate_up_proj": "ffn_up",
            "mlp.down_proj": "ffn_down",
        },
        window="key",
    ),
}
