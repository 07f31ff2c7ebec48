"""OLMo 1 to 3, and OLMoE."""

from __future__ import annotations

from ..base import Value
from ..hf_family import ATTENTION, COUNTS, EXPERTS, MLP, OWN_NORMS, PRE_NORM, QK_NORM, Family
from ..strict_json import Fields

_OWN_NORMS = {**ATTENTION, **QK_NORM, **OWN_NORMS, **MLP}


def _clip(config: Fields) -> dict[str, Value]:
    return {"attention.clamp_kqv": config.number("clip_qkv")} if config.has("clip_qkv") else {}


FAMILIES = {
    "OlmoForCausalLM": Family(
        architecture="olmo",
        layers={**ATTENTION, **MLP},
        numbers={},
        constants={"attention.layer_norm_epsilon": 1e-5},
        values=_clip,
        interleaved_rope=True,
    ),
    "Olmo2ForCausalLM": Family(architecture="olmo2", layers=_OWN_NORMS),
    "Olmo3ForCausalLM": Family(architecture="olmo2", layers=_OWN_NORMS, window="pattern", full_attention_every=4),
    "OlmoeForCausalLM": Family(
        architecture="olmoe",
        layers={**ATTENTION, **QK_NORM, **PRE_NORM, **EXPERTS},
        counts={
            **COUNTS,
            "expert_count": ("num_experts", "num_local_experts"),
            "expert_used_count": "num_experts_per_tok",
        },
        only={"norm_topk_prob": (False,), "clip_qkv": ()},
    ),
}
