"""Gemma 3 (arXiv:2503.19786, section 2.1): patches are averaged four by four, normalised and projected."""

from __future__ import annotations

import torch

from gristmill.kernels.qtensor import QTensor

from ...errors import UnsupportedModel
from ...images.wire import Picture, Preparation
from ...layers import RmsNorm
from ...weights import Weights
from ..config import VisionConfig
from ..marks import SQUARE
from .base import Projector, merged

_PROJECTION = "mm.input_projection.weight"


class Gemma3Projector(Projector):
    name, merge = "gemma3", 4
    both_sides, architectures = True, ("gemma3",)

    def __init__(self, weights: Weights, config: VisionConfig):
        self.ops, self.config = weights.ops, config
        self.norm = RmsNorm(weights, "mm.soft_emb_norm", config.hidden_size, config.norm_eps)
        shape = weights.shape(_PROJECTION)
        if len(shape) != 2:
            raise UnsupportedModel(f"tensor {_PROJECTION}: expected a matrix, got shape {shape}")
        self.hidden_size = shape[1]
        matrix = weights.vector(_PROJECTION, config.hidden_size, self.hidden_size)  # stored (in, out)
        self.projection = self.ops.prepare(_PROJECTION, QTensor.dense(matrix.T))

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.ops.linear(self.norm(merged(x, self.config).mean(1)), self.projection)

    @staticmethod
    def preparation(config: VisionConfig) -> Preparation:
        return Preparation(size=config.image_size, filter="bilinear")

    @staticmethod
    def text(picture: Picture) -> str:
        return f"\n\n<start_of_image>{SQUARE}<end_of_image>\n\n"
