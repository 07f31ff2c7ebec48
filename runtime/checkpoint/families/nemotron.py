"""Nemotron 4 and Minitron: layer norms that multiply by 1 + weight, squared ReLU."""

from __future__ import annotations

from ..hf_family import ATTENTION, PLAIN_MLP, PRE_NORM, SQUARED_RELU, Family

FAMILIES = {
    "NemotronForCausalLM": Family(
        architecture="nemotron",
        layers={**ATTENTION, **PRE_NORM, **PLAIN_MLP},
        numbers={"attention.layer_norm_epsilon": "norm_eps"},
        defaults={"partial_rotary_factor": 0.5},
        activations=SQUARED_RELU,
        norm_plus_one=True,
    ),
}
