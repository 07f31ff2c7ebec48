"""StarCoder 2."""

from __future__ import annotations

from ..hf_family import ATTENTION, GELU_TANH, PRE_NORM, Family

FAMILIES = {
    "Starcoder2ForCausalLM": Family(
        architecture="starcoder2",
        layers={**ATTENTION, **PRE_NORM, "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"},
        numbers={"attention.layer_norm_epsilon": "norm_epsilon"},
        defaults={"norm_epsilon": 1e-5, "tie_word_embeddings": True},
        only={"mlp_type": ("default",), "norm_type": ("layer_norm",)},
        activations=GELU_TANH,
    ),
}
