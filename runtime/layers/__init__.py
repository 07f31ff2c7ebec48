"""The parts that models are made of. A model file puts them together; it adds no arithmetic of its own."""

from .attention import Attention
from .block import (
    AddedNormBlock,
    EarlyRoutedBlock,
    MixerBlock,
    MlpBlock,
    ParallelBlock,
    PostNormBlock,
    PreNormBlock,
    SandwichBlock,
    SideBySide,
)
from .decoder import Decoder, Step
from .delta import GatedDeltaNet, read_delta_config, read_recurrent_layers
from .encoder import Encoder
from .gated_attention import GatedAttention
from .gated_conv import GatedConv
from .kimi_delta import KimiDelta
from .latent import LatentAttention, LatentConfig, read_latent_config
from .linear import Linear
from .mamba import Mamba
from .mamba2 import Mamba2
from .mlp import FusedGatedMlp, GatedMlp, PlainMlp, Sum
from .moe import Experts, MoeMlp
from .norm import LayerNorm, RmsNorm, stream_norm
from .pooling import Pooling, PoolingType
from .rope import (
    NoRope,
    Rope,
    alibi_slopes,
    longrope_factors,
    read_rope,
    read_temperatures,
    temperatures,
    yarn_magnitude,
)
from .short_conv import ShortConv

__all__ = [
    "AddedNormBlock",
    "Attention",
    "Decoder",
    "EarlyRoutedBlock",
    "Encoder",
    "Experts",
    "FusedGatedMlp",
    "GatedAttention",
    "GatedConv",
    "GatedDeltaNet",
    "GatedMlp",
    "KimiDelta",
    "LatentAttention",
    "LatentConfig",
    "LayerNorm",
    "Linear",
    "Mamba",
    "Mamba2",
    "MixerBlock",
    "MlpBlock",
    "MoeMlp",
    "NoRope",
    "ParallelBlock",
    "PlainMlp",
    "Pooling",
    "PoolingType",
    "PostNormBlock",
    "PreNormBlock",
    "RmsNorm",
    "Rope",
    "SandwichBlock",
    "ShortConv",
    "SideBySide",
    "Step",
    "Sum",
    "alibi_slopes",
    "longrope_factors",
    "read_delta_config",
    "read_latent_config",
    "read_recurrent_layers",
    "read_rope",
    "read_temperatures",
    "stream_norm",
    "temperatures",
    "yarn_magnitude",
]
