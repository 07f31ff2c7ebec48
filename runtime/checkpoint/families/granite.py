"""Granite 3, also with experts, some of which all tokens share."""

from __future__ import annotations

from ..hf_family import ATTENTION, COUNTS, MLP, PRE_NORM, RMS_NORM, Family, Keys
from ..names import Layers, Part
from ..transforms import rows

_FACTORS: Keys = {
    **RMS_NORM,
    "attention.scale": "attention_multiplier",
    "embedding_scale": "embedding_multiplier",
    "residual_scale": "residual_multiplier",
    "logit_scale": "logits_scaling",
}
_DENSE_DEFAULTS = dict.fromkeys(
    ("attention_multiplier", "embedding_multiplier", "residual_multiplier", "logits_scaling"), 1.0
)
_MOE_COUNTS: Keys = {**COUNTS, "expert_count": "num_local_experts", "expert_used_count": "num_experts_per_tok"}
_MOE: Layers = {
    **ATTENTION,
    **PRE_NORM,
    "block_sparse_moe.router.layer": "ffn_gate_inp",
    "block_sparse_moe.input_linear": (Part("ffn_gate_exps", rows(0)), Part("ffn_up_exps", rows(1))),
    "block_sparse_moe.output_linear": "ffn_down_exps",
}

FAMILIES = {
    "GraniteForCausalLM": Family(
        architecture="granite",
        layers={**ATTENTION, **PRE_NORM, **MLP},
        numbers=_FACTORS,
        defaults=_DENSE_DEFAULTS,
        interleaved_rope=True,
    ),
    "GraniteMoeForCausalLM": Family(
        architecture="granitemoe",
        layers=_MOE,
        counts=_MOE_COUNTS,
        numbers=_FACTORS,
        defaults=_DENSE_DEFAULTS,
        interleaved_rope=True,
    ),
    "GraniteMoeSharedForCausalLM": Family(
        architecture="granitemoe",
        layers={
            **_MOE,
            "shared_mlp.input_linear": (Part("ffn_gate_shexp", rows(0)), Part("ffn_up_shexp", rows(1))),
            "shared_mlp.output_linear": "ffn_down_shexp",
        },
        counts={**_MOE_COUNTS, "expert_shared_feed_forward_length": "shared_intermediate_size"},
        numbers=_FACTORS,
        defaults=_DENSE_DEFAULTS,
        interleaved_rope=True,
    ),
}
