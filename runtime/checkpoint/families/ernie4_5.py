"""ERNIE 4.5, also with experts, whose rotary embedding turns neighbours already, and PaddleOCR."""

from __future__ import annotations

import re
from dataclasses import replace

from ..base import Value
from ..hf_family import ATTENTION, COUNTS, EXPERTS, MLP, PRE_NORM, Family, unsupported
from ..names import DECODER, Part, Scheme
from ..strict_json import Fields
from ..transforms import first_row


def _moe(config: Fields) -> dict[str, Value]:
    last = config.integer("num_hidden_layers") - 1
    if config.integer("moe_layer_end_index", last, low=-1) not in (-1, last):
        raise unsupported("moe_layer_end_index", config.data["moe_layer_end_index"], (last,))
    return {
        "expert_shared_count": config.integer("moe_num_shared_experts", low=0),
        "leading_dense_block_count": config.integer("moe_layer_start_index", low=0),
    }


_DENSE = Family(
    architecture="ernie4_5",
    layers={**ATTENTION, **PRE_NORM, **MLP},
    defaults={"rope_theta": 500_000.0, "tie_word_embeddings": True},
    only={"use_bias": (False,)},
)
# PaddleOCR turns halves of heads, in GGUF, too.
_PADDLE = replace(_DENSE, architecture="paddleocr")

FAMILIES = {
    "Ernie4_5ForCausalLM": _DENSE,
    "Ernie4_5_MoeForCausalLM": Family(
        architecture="ernie4_5-moe",
        layers={
            **ATTENTION,
            **PRE_NORM,
            **MLP,
            **EXPERTS,
            "mlp.moe_statics.e_score_correction_bias": Part("exp_probs_b.bias", first_row),
            "mlp.shared_experts.gate_proj": "ffn_gate_shexp",
            "mlp.shared_experts.up_proj": "ffn_up_shexp",
            "mlp.shared_experts.down_proj": "ffn_down_shexp",
        },
        scheme=Scheme(DECODER.top, unused=re.compile(r"mtp_.+")),
        counts={
            **COUNTS,
            "expert_count": "moe_num_experts",
            "expert_used_count": "moe_k",
            "expert_feed_forward_length": "moe_intermediate_size",
            "interleave_moe_layer_step": "moe_layer_interval",
        },
        defaults={
            "rope_theta": 500_000.0,
            "tie_word_embeddings": True,
            "moe_layer_interval": 1,
            "moe_layer_start_index": 1,
            "moe_num_shared_experts": 2,
        },
        only={"use_bias": (False,), "moe_gate_act": ("softmax",)},
        values=_moe,
    ),
}

WITH_PICTURES = {
    "PaddleOCRVLForConditionalGeneration": {"paddleocr_vl": _PADDLE, "paddleocr_vl_text": _PADDLE},
}
