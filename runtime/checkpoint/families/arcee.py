"""Arcee Foundation Models: Llama with a plain feed-forward layer."""

from __future__ import annotations

from ..hf_family import ATTENTION, PLAIN_MLP, PRE_NORM, SQUARED_RELU, Family

FAMILIES = {
    "ArceeForCausalLM": Family(
        architecture="arcee",
        layers={**ATTENTION, **PRE_NORM, **PLAIN_MLP},
        activations=SQUARED_RELU,
        interleaved_rope=True,
    ),
}
