"""Mamba 2 (arXiv:2405.21060), Codestral Mamba among them: state spaces in heads, and nothing else."""

from __future__ import annotations

from ..config import Metadata, read_recurrent_config
from ..layers import Decoder, Mamba2, MixerBlock
from ..ssm_config import read_mamba2_config
from ..weights import Weights

ARCHITECTURES = ("mamba2",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config, ssm = read_recurrent_config(meta), read_mamba2_config(meta)

    def block(layer: int) -> MixerBlock:
        return MixerBlock(weights, config, layer, Mamba2(weights, config, layer, ssm))

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
