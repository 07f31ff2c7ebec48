"""What a projector is, and what it says of the pictures and prompts that its model was trained with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch

from ...images.wire import Picture, Preparation
from ...weights import Weights
from ..config import VisionConfig
from ..marks import SQUARE


class Projector(ABC):
    """``both_sides``: the tokens of a square see each other whatever their order; then ``architectures`` are the models
    that can do that. ``merge`` is how many patches in a row become a token where the file does not say, ``drops_last``
    whether the tower's last layer is left out."""

    name: ClassVar[str]
    merge: ClassVar[int] = 1
    drops_last: ClassVar[bool] = False
    both_sides: ClassVar[bool] = False
    architectures: ClassVar[tuple[str, ...]] = ()
    hidden_size: int  # of the model that reads the rows

    @abstractmethod
    def __init__(self, weights: Weights, config: VisionConfig):
        """Raises UnsupportedModel for tensors that are missing or have other shapes."""

    @abstractmethod
    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Of one square: float32 (n_patches, vision hidden) -> (n_tokens, hidden_size)."""

    @staticmethod
    @abstractmethod
    def preparation(config: VisionConfig) -> Preparation:
        """How pictures are made ready."""

    @staticmethod
    def text(picture: Picture) -> str:
        """What stands in a prompt for ``picture``, with a ``SQUARE`` for each of its squares."""
        return SQUARE * picture.n_squares


def merged(x: torch.Tensor, config: VisionConfig) -> torch.Tensor:
    """(n_patches, hidden) -> (n_tokens, merge * merge, hidden): the patches of each square of ``merge`` patches."""
    n, s = config.n_side // config.merge, config.merge
    return x.reshape(n, s, n, s, -1).transpose(1, 2).reshape(n * n, s * s, -1)
