"""The parts that models are made of. A model file puts them together; it adds no arithmetic of its own."""

from .attention import Attention
from .block import PostNormBlock, PreNormBlock, SandwichBlock
from .decoder import Decoder, Step
from .encoder import Encoder
from .linear import Linear
from .mlp import FusedGatedMlp, GatedMlp, MoeMlp, PlainMlp
from .norm import LayerNorm, RmsNorm
from .pooling import Pooling, PoolingType
from .rope import Rope

__all__ = [
    "Attention",
    "Decoder",
    "Encoder",
    "FusedGatedMlp",
    "GatedMlp",
    "LayerNorm",
    "Linear",
    "MoeMlp",
    "PlainMlp",
    "Pooling",
    "PoolingType",
    "PostNormBlock",
    "PreNormBlock",
    "RmsNorm",
    "Rope",
    "SandwichBlock",
    "Step",
]
