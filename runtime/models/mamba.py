"""Mamba (arXiv:2312.00752) and Falcon Mamba (arXiv:2410.05355): state spaces, and nothing else."""

from __future__ import annotations

from ..config import Metadata, read_recurrent_config
from ..layers import Decoder, Mamba, MixerBlock
from ..ssm_config import read_mamba_config
from ..weights import Weights

ARCHITECTURES = ("mamba",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config, ssm = read_recurrent_config(meta), read_mamba_config(meta)

    def block(layer: int) -> MixerBlock:
        return MixerBlock(weights, config, layer, Mamba(weights, config, layer, ssm))

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
