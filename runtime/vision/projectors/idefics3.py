"""Idefics3 and SmolVLM (arXiv:2408.12637, 2504.05299): neighbouring patches side by side in one row, and projected.

Large pictures are cut into squares, which come row by row before the whole one.
"""

from __future__ import annotations

import torch

from ...images.wire import Picture, Preparation
from ...layers import Linear
from ...weights import Weights
from ..config import VisionConfig
from ..marks import SQUARE
from .base import Projector, merged

_AROUND, _WHOLE = "<fake_token_around_image>", "<global-img>"


class Idefics3Projector(Projector):
    name = "idefics3"

    def __init__(self, weights: Weights, config: VisionConfig):
        self.config = config
        self.hidden_size = weights.shape("mm.model.fc.weight")[0]
        n_in = config.hidden_size * config.merge**2
        self.projection = Linear(weights, "mm.model.fc", self.hidden_size, n_in)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.projection(merged(x, self.config).flatten(1))

    @staticmethod
    def preparation(config: VisionConfig) -> Preparation:
        longest = config.longest_edge
        return Preparation(size=config.image_size, filter="lanczos", fit="tiles", longest_edge=longest)

    @staticmethod
    def text(picture: Picture) -> str:
        whole = f"{_AROUND}{_WHOLE}{SQUARE}{_AROUND}"
        if not picture.n_rows:
            return whole
        columns = range(1, picture.n_cols + 1)
        rows = (
            "".join(f"{_AROUND}<row_{row}_col_{col}>{SQUARE}" for col in columns) + "\n"
            for row in range(1, picture.n_rows + 1)
        )
        return "".join(rows) + "\n" + whole
