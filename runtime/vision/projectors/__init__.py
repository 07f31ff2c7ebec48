"""Projectors, one file each: from a tower's states to rows that stand where a model's token embeddings do."""

from .base import Projector
from .gemma3 import Gemma3Projector
from .idefics3 import Idefics3Projector
from .mlp import MlpProjector

PROJECTORS: dict[str, type[Projector]] = {
    projector.name: projector for projector in (Gemma3Projector, Idefics3Projector, MlpProjector)
}

__all__ = ["PROJECTORS", "Projector"]
