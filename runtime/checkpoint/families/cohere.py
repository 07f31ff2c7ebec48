"""Command R and R7B: their rotary embedding turns neighbours already."""

from __future__ import annotations

from ..hf_family import ATTENTION, LAYER_NORM, MLP, QK_NORM, Family

_NUMBERS = {**LAYER_NORM, "logit_scale": "logit_scale"}
_DEFAULTS = {"tie_word_embeddings": True, "logit_scale": 0.0625}

FAMILIES = {
    "CohereForCausalLM": Family(
        architecture="command-r",
        layers={**ATTENTION, **QK_NORM, **MLP},
        numbers=_NUMBERS,
        defaults=_DEFAULTS,
    ),
    "Cohere2ForCausalLM": Family(
        architecture="cohere2",
        layers={**ATTENTION, **MLP},
        numbers=_NUMBERS,
        defaults=_DEFAULTS,
        only={"use_qk_norm": (False,), "use_parallel_block": (True,), "attention_bias": (False,)},
        window="pattern",
        full_attention_every=4,
    ),
}
