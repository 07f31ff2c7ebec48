"""Seed-OSS."""

from __future__ import annotations

from ..hf_family import ATTENTION, MLP, Family

FAMILIES = {
    "SeedOssForCausalLM": Family(
        architecture="seed_oss",
        layers={**ATTENTION, **MLP, "post_attention_layernorm": "post_attention_norm"},
    ),
}
