"""LLaVA 1.5 (arXiv:2310.03744): CLIP's last layer but one, through two linear layers."""

from __future__ import annotations

import torch

from ...images.wire import Preparation
from ...layers import Linear
from ...weights import Weights
from ..config import VisionConfig
from .base import Projector

_MEAN_COLOR = 122, 116, 104  # CLIP's, of 255


class MlpProjector(Projector):
    name, drops_last = "mlp", True

    def __init__(self, weights: Weights, config: VisionConfig):
        self.ops = weights.ops
        self.hidden_size = weights.shape("mm.0.weight")[0]
        self.first = Linear(weights, "mm.0", self.hidden_size, config.hidden_size)
        self.second = Linear(weights, "mm.2", self.hidden_size, self.hidden_size)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.ops.activate(self.first(x), "gelu_erf"))

    @staticmethod
    def preparation(config: VisionConfig) -> Preparation:
        return Preparation(size=config.image_size, filter="bicubic", fit="pad", fill=_MEAN_COLOR)
