"""Llama, Mistral, Ministral and Mixtral."""

from __future__ import annotations

from dataclasses import replace

from ..base import Value
from ..hf_family import ATTENTION, COUNTS, MLP, PRE_NORM, W_EXPERTS, Family, unsupported
from ..strict_json import Fields

_LLAMA = Family(architecture="llama", layers={**ATTENTION, **PRE_NORM, **MLP}, interleaved_rope=True)


def _ministral(config: Fields) -> dict[str, Value]:
    rope = config.fields("rope_parameters")
    if rope.text("rope_type", "default") != "yarn":
        raise unsupported("rope_parameters.rope_type", rope.data.get("rope_type"), ("yarn",))
    return {
        "rope.scaling.yarn_log_multiplier": rope.number("mscale_all_dim"),
        "attention.temperature_scale": rope.number("llama_4_scaling_beta"),
    }


_MINISTRAL = replace(
    _LLAMA,
    architecture="mistral3",
    values=_ministral,
    only={"rope_parameters.mscale": (1.0,)},
    rope_keys=frozenset({"mscale", "mscale_all_dim", "llama_4_scaling_beta"}),
)

FAMILIES = {
    "LlamaForCausalLM": _LLAMA,
    "MistralForCausalLM": _LLAMA,
    "Ministral3ForCausalLM": _MINISTRAL,
    "MixtralForCausalLM": Family(
        architecture="llama",
        layers={**ATTENTION, **PRE_NORM, **W_EXPERTS},
        counts={**COUNTS, "expert_count": "num_local_experts", "expert_used_count": "num_experts_per_tok"},
        defaults={"rope_theta": 1_000_000.0},
        interleaved_rope=True,
    ),
}

WITH_PICTURES = {"Mistral3ForConditionalGeneration": {"mistral": _LLAMA, "ministral3": _MINISTRAL}}
