"""The parts that models are made of. A model file puts them together; it adds no arithmetic of its own."""

from .attention import Attention
from .block import AddedNormBlock, EarlyRoutedBlock, ParallelBlock, PostNormBlock, PreNormBlock, SandwichBlock
from .decoder import Decoder, Step
from .encoder import Encoder
from .latent import LatentAttention, LatentConfig, read_latent_config
from .linear import Linear
from .mlp import FusedGatedMlp, GatedMlp, PlainMlp, Sum
from .moe import Experts, MoeMlp
from .norm import LayerNorm, RmsNorm, stream_norm
from .pooling import Pooling, PoolingType
from .rope import NoRope, Rope, alibi_slopes, longrope_factors, read_rope, temperatures

__all__ = [
    "AddedNormBlock",
    "Attention",
    "Decoder",
    "EarlyRoutedBlock",
    "Encoder",
    "Experts",
    "FusedGatedMlp",
    "GatedMlp",
    "LatentAttention",
    "LatentConfig",
    "LayerNorm",
    "Linear",
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
    "Step",
    "Sum",
    "alibi_slopes",
    "longrope_factors",
    "read_latent_config",
    "read_rope",
    "stream_norm",
    "temperatures",
]
