"""The parts that decoders are made of. A model file puts them together; it adds no arithmetic of its own."""

from .attention import Attention
from .block import PreNormBlock, SandwichBlock
from .decoder import Decoder, Step
from .linear import Linear
from .mlp import FusedGatedMlp, GatedMlp, MoeMlp
from .norm import RmsNorm
from .rope import Rope

__all__ = [
    "Attention",
    "Decoder",
    "FusedGatedMlp",
    "GatedMlp",
    "Linear",
    "MoeMlp",
    "PreNormBlock",
    "RmsNorm",
    "Rope",
    "SandwichBlock",
    "Step",
]
